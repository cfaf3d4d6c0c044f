/** The value of an environment variable; undefined if it is unset, empty, or may not be read. It never prompts. */
export function variable(name: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" ? Deno.env.get(name) || undefined : undefined;
}
