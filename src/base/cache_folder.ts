/**
 * A folder for what is kept from run to run, under `localgrad` in the user's cache: compiled kernels, times of engines,
 * speeds of devices. False if it may not be read and written.
 */
export function cacheFolder(name: "cubin" | "engines" | "speeds"): string | false {
  const variable = (name: string) =>
    Deno.permissions.querySync({ name: "env", variable: name }).state === "granted"
      ? Deno.env.get(name) || undefined
      : undefined;
  const home = variable("HOME");
  const cache = variable("XDG_CACHE_HOME") ?? (home === undefined ? undefined : `${home}/.cache`);
  if (cache === undefined) return false;
  const path = `${cache}/localgrad/${name}`;
  const may = (name: "read" | "write") => Deno.permissions.querySync({ name, path }).state === "granted";
  return may("read") && may("write") ? path : false;
}
