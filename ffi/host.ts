/**
 * This machine, as far as the search for libraries may look at it. Permissions are queried first: nothing here prompts,
 * and a file or variable that may not be read counts as absent.
 *
 * @module
 */

/** A machine as the search for libraries sees it; tests substitute their own. */
export interface Host {
  /** The operating system, as `Deno.build.os` names it. */
  readonly os: string;
  /** The architecture: `x86_64` or `aarch64`. */
  readonly arch: string;
  /** The value of an environment variable; undefined if it is unset, empty, or may not be read. */
  env(name: string): string | undefined;
  /** The names in a folder; none if it does not exist or may not be read. */
  list(folder: string): readonly string[];
  /** A path with its links resolved; the path itself if that fails. */
  real(path: string): string;
  /** The first four bytes of a file, or fewer. */
  magic(path: string): Uint8Array;
  /** True if libraries may be opened. */
  readonly mayOpen: boolean;
  /** Permission flags whose absence kept the search from looking somewhere. */
  readonly denied: ReadonlySet<string>;
}

/** The machine that this process runs on. */
export function thisHost(): Host {
  const denied = new Set<string>();
  const may = (descriptor: Deno.PermissionDescriptor, flag: string): boolean => {
    const granted = Deno.permissions.querySync(descriptor).state === "granted";
    if (!granted) denied.add(flag);
    return granted;
  };
  const reading = <T>(path: string, otherwise: T, read: () => T): T => {
    if (!may({ name: "read", path }, "--allow-read")) return otherwise;
    try {
      return read();
    } catch {
      return otherwise; // it does not exist, or is not a folder
    }
  };
  return {
    os: Deno.build.os,
    arch: Deno.build.arch,
    mayOpen: Deno.permissions.querySync({ name: "ffi" }).state === "granted",
    denied,
    env(variable) {
      if (!may({ name: "env", variable }, "--allow-env")) return undefined;
      return Deno.env.get(variable) || undefined;
    },
    list: (folder) => reading(folder, [], () => Array.from(Deno.readDirSync(folder), ({ name }) => name)),
    real: (path) => reading(path, path, () => Deno.realPathSync(path)),
    magic: (path) =>
      reading(path, new Uint8Array(0), () => {
        using file = Deno.openSync(path);
        const bytes = new Uint8Array(4);
        return bytes.subarray(0, file.readSync(bytes) ?? 0);
      }),
  };
}
