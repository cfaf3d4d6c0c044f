import type { Host } from "../ffi/host.ts";

const ELF = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46), TEXT = new TextEncoder().encode("/* G");

/** A machine to search for libraries, with shared libraries, linker scripts, and an environment. */
export function machine(
  files: readonly string[],
  env: Readonly<Record<string, string>> = {},
  scripts: readonly string[] = [],
): Host {
  const all = [...files, ...scripts];
  return {
    os: "linux",
    arch: "x86_64",
    mayOpen: true,
    denied: new Set(),
    env: (name) => env[name],
    real: (path) => path,
    magic: (path) => scripts.includes(path) ? TEXT : all.includes(path) ? ELF : new Uint8Array(0),
    list: (folder) => {
      const prefix = folder === "/" ? "/" : `${folder}/`;
      return [
        ...new Set(
          all.filter((file) => file.startsWith(prefix)).map((file) =>
            file.slice(prefix.length).split("/")[0]
          ),
        ),
      ];
    },
  };
}
