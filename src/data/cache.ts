import { LocalgradError } from "../base/errors.ts";

async function variable(name: string): Promise<string | undefined> {
  const { state } = await Deno.permissions.query({ name: "env", variable: name });
  return state === "granted" ? Deno.env.get(name) || undefined : undefined;
}

/**
 * Returns the folder for downloads: `localgrad` in `XDG_CACHE_HOME`, or in the system's cache folder.
 *
 * @throws {LocalgradError} if the environment names neither, or may not be read.
 */
export async function cacheDirectory(): Promise<string> {
  const explicit = await variable("XDG_CACHE_HOME");
  if (explicit !== undefined) return `${explicit}/localgrad`;
  if (Deno.build.os === "windows") {
    const local = await variable("LOCALAPPDATA");
    if (local !== undefined) return `${local}/localgrad`;
  } else {
    const home = await variable("HOME");
    if (home !== undefined) {
      return `${home}/${Deno.build.os === "darwin" ? "Library/Caches" : ".cache"}/localgrad`;
    }
  }
  throw new LocalgradError(
    "no cache folder was found; give one, or set XDG_CACHE_HOME and allow reading it (--allow-env=XDG_CACHE_HOME,HOME)",
  );
}
