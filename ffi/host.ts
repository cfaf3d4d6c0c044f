/**
 * What the search for libraries may see of this machine. Everything is asked of `Deno.permissions` first: nothing here
 * prompts, and what is not permitted is not there.
 *
 * @module
 */

/** The machine, as the search sees it; tests put another in its place. */
export interface Host {
  /** `linux` is where CUDA libraries are looked for. */
  readonly os: string;
  /** `x86_64` or `aarch64`. */
  readonly arch: string;
  /** An environment variable that is set, not empty, and may be read. */
  env(name: string): string | undefined;
  /** The names in a folder; none where it is not there or may not be read. */
  list(folder: string): readonly string[];
  /** A path with its links followed, or itself. */
  real(path: string): string;
  /** A file's first four bytes, or fewer. */
  magic(path: string): Uint8Array;
  /** Whether libraries may be opened at all. */
  readonly mayOpen: boolean;
  /** Flags that were not given, and without which something was not looked at. */
  readonly denied: ReadonlySet<string>;
}

/** The machine this runs on. */
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
      return otherwise; // not there, or not a folder
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
