/**
 * The places where libraries may be: folders that the environment names, and their files.
 *
 * @module
 */
import type { Host } from "./host.ts";

/** A possible location of a library: a file, or a bare name for the system's loader. */
export interface Candidate {
  /** The path or name to open. */
  readonly path: string;
  /** The reason why it is searched for there, for messages. */
  readonly via: string;
}

/** The result of a search. */
export interface Search {
  /** Candidates that exist, or whose existence only the system's loader knows; preferred first. */
  readonly candidates: readonly Candidate[];
  /** The places searched, in order, each with the result. */
  readonly tried: readonly string[];
}

/** A search for a file, or for one of several: what was found, and the places looked at. */
export class Places implements Search {
  /** Candidates, preferred first. */
  readonly candidates: Candidate[] = [];
  /** The places searched, each with the result. */
  readonly tried: string[] = [];
  readonly #host: Host;
  readonly #files: readonly string[];
  readonly #looked = new Set<string>();

  /** A search for a file of this name on a machine, or of one of these names, preferred first. */
  constructor(host: Host, ...files: readonly string[]) {
    this.#host = host;
    this.#files = files;
  }

  /** Looks in a folder, once. */
  look(folder: string, via: string): void {
    if (this.#looked.has(folder)) return;
    this.#looked.add(folder);
    const names = this.#host.list(folder);
    const present = this.#files.filter((file) => names.includes(file));
    if (present.length === 0) this.tried.push(`${folder}/${oneOf(this.#files)}: not found`);
    for (const file of present) {
      const path = `${folder}/${file}`;
      if (!isLibrary(this.#host.magic(path))) {
        this.tried.push(`${path}: not a shared library (a linker script?)`);
      } else {
        this.tried.push(`${path}: found`);
        this.candidates.push({ path, via });
      }
    }
  }

  /** Looks where an environment variable says; false if it is not set. */
  override(variable: string): boolean {
    const host = this.#host;
    const chosen = host.env(variable);
    if (chosen === undefined) return false;
    if (host.list(chosen).length > 0) this.look(chosen, variable);
    else if (!chosen.includes("/")) {
      this.tried.push(`${chosen} (${variable}): left to the system's loader`);
      this.candidates.push({ path: chosen, via: variable });
    } else if (isLibrary(host.magic(chosen))) {
      this.tried.push(`${chosen}: found`);
      this.candidates.push({ path: chosen, via: variable });
    } else this.tried.push(`${chosen} (${variable}): no shared library there`);
    return true;
  }

  /** Looks in LD_LIBRARY_PATH, then leaves the rest to the system's loader. */
  loader(): void {
    const host = this.#host;
    const folders = entries(host, "LD_LIBRARY_PATH");
    for (const folder of folders.filter(isAbsolute)) this.look(folder, "LD_LIBRARY_PATH");
    for (const file of this.#files) {
      // The loader takes an empty entry for the current folder.
      const shadow = folders.find((entry) => !isAbsolute(entry) && host.list(entry || ".").includes(file));
      if (shadow === undefined) {
        this.tried.push(`${file}: left to the system's loader`);
        this.candidates.push({ path: file, via: "the system's loader" });
      } else {
        this.tried.push(
          `${file}: not left to the system's loader, which would take it from "${shadow}", a relative entry of ` +
            "LD_LIBRARY_PATH",
        );
      }
    }
  }
}

/** Names as a shell would write them: `a`, `{a,b}`. */
function oneOf(names: readonly string[]): string {
  return names.length === 1 ? names.join() : `{${names.join()}}`;
}

/** Debian's folder of the machine's libraries. */
export function multiarch(host: Host): string {
  return `/usr/lib/${host.arch === "aarch64" ? "aarch64" : "x86_64"}-linux-gnu`;
}

/** Tests whether a file begins like a shared library of Linux (ELF) or macOS (Mach-O); a linker script is text. */
function isLibrary(magic: Uint8Array): boolean {
  const word = [...magic].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return ["7f454c46", "cffaedfe", "cafebabe"].includes(word);
}

/** The folders that a Python is installed in: of VIRTUAL_ENV, of the Pythons on PATH, and the user's own. */
export function pythonPrefixes(host: Host): string[] {
  const prefixes = new Set<string>();
  const virtual = folderNamed(host, "VIRTUAL_ENV");
  if (virtual !== undefined) prefixes.add(virtual);
  for (const folder of entries(host, "PATH").filter(isAbsolute)) {
    const python = host.list(folder).find((name) => name === "python3" || name === "python");
    if (python === undefined) continue;
    prefixes.add(parent(folder));
    prefixes.add(parent(parent(host.real(`${folder}/${python}`))));
    if (folder.endsWith("/.pyenv/shims")) { // scripts that select one of several versions
      const versions = `${parent(folder)}/versions`;
      for (const version of host.list(versions)) prefixes.add(`${versions}/${version}`);
    }
  }
  const home = folderNamed(host, "HOME");
  if (home !== undefined) prefixes.add(`${home}/.local`);
  return [...prefixes];
}

/** The entries of an environment variable that lists folders. */
export function entries(host: Host, variable: string): string[] {
  return host.env(variable)?.split(":") ?? [];
}

/** Tests whether a path is absolute. */
export function isAbsolute(path: string): boolean {
  return path.startsWith("/");
}

/** The folder that an environment variable names; undefined if it is relative. */
export function folderNamed(host: Host, variable: string): string | undefined {
  const folder = host.env(variable);
  return folder !== undefined && isAbsolute(folder) ? folder : undefined;
}

/** The parent folder of a path. */
export function parent(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash <= 0 ? "/" : path.slice(0, slash);
}
