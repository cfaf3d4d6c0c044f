/**
 * Opens CUDA's libraries, all of one major version, and says for each what was found, where, or what is missing.
 *
 * @module
 */
import { type CublasLt, cublasLtSymbols } from "./cublas.ts";
import { type Cudnn, cudnnSymbols } from "./cudnn.ts";
import { checkDriver, type Driver, driverSymbols } from "./driver.ts";
import { type Host, thisHost } from "./host.ts";
import { type Nvrtc, nvrtcSymbols, nvrtcVersion } from "./nvrtc.ts";
import {
  cudnnParts,
  libraries,
  type LibraryName,
  libraryNames,
  majors,
  nvrtcParts,
  parent,
  search,
} from "./search.ts";

/** What is known of one library, for `doctor`. */
export interface LibraryReport {
  /** Which. */
  readonly name: LibraryName;
  /** What it is called, and what it does here. */
  readonly title: string;
  /** Its file, where it was opened. */
  readonly path?: string;
  /** Why it was looked for there. */
  readonly via?: string;
  /** Its version, such as `13.0`. */
  readonly version?: string;
  /** Everywhere it was looked for, and what was there. */
  readonly tried: readonly string[];
  /** What is wrong, if anything. */
  readonly problem?: string;
  /** What would mend it. */
  readonly remedy?: string;
}

/** The libraries that could be opened, and a report on all of them. */
export interface CudaLibraries {
  readonly driver?: Driver;
  readonly nvrtc?: Nvrtc;
  readonly cublasLt?: CublasLt;
  readonly cudnn?: Cudnn;
  /** One report for each library. */
  readonly reports: readonly LibraryReport[];
  /** Closes them. Only tests do: a process keeps its libraries, whose own threads and caches may be in use. */
  close(): void;
}

const symbols = {
  driver: driverSymbols,
  nvrtc: nvrtcSymbols,
  cublasLt: cublasLtSymbols,
  cudnn: cudnnSymbols,
} as const;

interface Opened {
  readonly name: LibraryName;
  readonly major: number;
  readonly version: string;
  readonly symbols: Driver | Nvrtc | CublasLt | Cudnn;
  readonly path: string;
  readonly via: string;
}

/** `13000` and `90700`, as the libraries number themselves, to `13.0`. */
function dotted(version: number, thousand: number = 1000): string {
  const major = Math.floor(version / thousand);
  const rest = version % thousand;
  return thousand === 1000 && version < 100000 && rest % 10 === 0
    ? `${major}.${rest / 10}`
    : `${major}.${Math.floor(rest / 100)}.${rest % 100}`;
}

/** Asks each library who it is: the CUDA major it was made for, and its version. */
const identify = {
  driver(driver: Driver) {
    const version = new Int32Array(1);
    checkDriver(driver, driver.cuDriverGetVersion(version), "asking for its version");
    return { major: Math.floor(version[0] / 1000), version: `for CUDA ${dotted(version[0])}` };
  },
  nvrtc(nvrtc: Nvrtc) {
    const [major, minor] = nvrtcVersion(nvrtc);
    return { major, version: `${major}.${minor}` };
  },
  cublasLt(cublas: CublasLt) {
    const made = Number(cublas.cublasLtGetCudartVersion());
    return {
      major: Math.floor(made / 1000),
      version: `${dotted(Number(cublas.cublasLtGetVersion()), 10000)} for CUDA ${dotted(made)}`,
    };
  },
  cudnn(cudnn: Cudnn) {
    const made = Number(cudnn.cudnnGetCudartVersion());
    const version = Number(cudnn.cudnnGetVersion());
    if (version < 90000 || version >= 100000) {
      // Up to 8, cuDNN counted its versions in thousands.
      const old = version < 10000
        ? `${Math.floor(version / 1000)}.${Math.floor(version / 100) % 10}.${version % 100}`
        : "";
      throw new Error(`it is version ${old || dotted(version, 10000)}, and 9 is needed`);
    }
    return { major: Math.floor(made / 1000), version: `${dotted(version, 10000)} for CUDA ${dotted(made)}` };
  },
};

/** Options of {@link openLibraries}. */
export interface OpenLibrariesOptions {
  /** The machine to look at; default: this one. */
  host?: Host;
  /** Whether to stop where there is no driver, without which the rest is of no use; default false. */
  needDriver?: boolean;
}

/** Opens whatever there is of the four libraries. */
export function openLibraries(options: OpenLibrariesOptions = {}): CudaLibraries {
  const { host = thisHost(), needDriver = false } = options;
  const handles: { close(): void }[] = [];
  const close = () => handles.splice(0).forEach((handle) => handle.close());
  const none = (problem: string, remedy: string): CudaLibraries => ({
    reports: libraryNames.map((name) => ({ ...described(name), tried: [], problem, remedy })),
    close,
  });
  if (!host.mayOpen) {
    return none(
      "opening libraries is not permitted",
      "run deno with --allow-ffi, not with a list of paths, which is not enough for pointers (and with --allow-read " +
        "--allow-env)",
    );
  }
  if (host.os !== "linux") {
    return none(`CUDA is looked for on Linux only, not on ${host.os}`, "use webgpu or cpu");
  }

  const reports = new Map<LibraryName, LibraryReport>();
  const opened = new Map<LibraryName, Opened>();
  const open = (name: LibraryName, major: number): Opened | undefined => {
    const found = openOne(name, major, host, handles);
    reports.set(name, found.report);
    if (found.opened !== undefined) opened.set(name, found.opened);
    return found.opened;
  };

  const driver = open("driver", majors[0]);
  if (driver === undefined && needDriver) return { reports: [...reports.values()], close };
  // The driver runs libraries made for its own major version or an older one.
  const usable = majors.filter((major) => driver === undefined || major <= driver.major);
  const major = usable.find((major) => {
    const first = openOne("nvrtc", major, host, handles);
    if (first.opened === undefined && reports.has("nvrtc")) return false; // report on the newest
    reports.set("nvrtc", first.report);
    if (first.opened !== undefined) opened.set("nvrtc", first.opened);
    return first.opened !== undefined;
  }) ?? usable[0] ?? majors[0];
  for (const name of ["cublasLt", "cudnn"] as const) open(name, major);

  const ceiling = opened.get("nvrtc")?.major ?? major;
  for (const [name, library] of opened) {
    const wrong = name === "driver" ? library.major < ceiling : library.major !== ceiling;
    if (!wrong) continue;
    const problem = name === "driver"
      ? `the driver is ${library.version}, and the libraries found are for CUDA ${ceiling}`
      : `${library.path} is for CUDA ${library.major}, but NVRTC is for CUDA ${ceiling}`;
    reports.set(name, {
      ...reports.get(name)!,
      problem,
      remedy: `use one major version of CUDA: ${libraries[name].install}, or set ${libraries[name].override}`,
    });
    opened.delete(name);
  }
  return {
    ...Object.fromEntries(Array.from(opened, ([name, { symbols }]) => [name, symbols])),
    reports: libraryNames.map((name) => reports.get(name)!),
    close,
  };
}

function described(name: LibraryName): { name: LibraryName; title: string } {
  return { name, title: `${libraries[name].title} (${libraries[name].purpose})` };
}

function openOne(
  name: LibraryName,
  major: number,
  host: Host,
  handles: { close(): void }[],
): { report: LibraryReport; opened?: Opened } {
  const { title, override, install, soname } = libraries[name];
  const { candidates, tried: looked } = search(name, major, host);
  const tried = [...looked];
  for (const { path, via } of candidates) {
    try {
      if (path.includes("/")) {
        const folder = parent(path);
        const parts = name === "cudnn"
          ? cudnnParts(folder, host)
          : name === "nvrtc"
          ? nvrtcParts(folder, major, host)
          : [];
        // Opened by path first, so that a bare name asked for later means these and no other version's.
        for (const part of parts) {
          try {
            handles.push(Deno.dlopen(part, {}));
            keepLoaded(part);
          } catch (error) { // one engine may lack what it needs; libcudnn says so if it is ever asked for
            tried.push(`${part}: ${messageOf(error)}`);
          }
        }
      }
      const library = Deno.dlopen(path, symbols[name]);
      handles.push(library);
      keepLoaded(path);
      const identity = (identify[name] as (symbols: unknown) => { major: number; version: string })(
        library.symbols,
      );
      const opened = { name, path, via, symbols: library.symbols, ...identity };
      return { report: { ...described(name), path, via, version: identity.version, tried }, opened };
    } catch (error) {
      tried.push(`${path}: ${messageOf(error)}`);
      if (error instanceof Deno.errors.NotCapable) {
        const problem = `opening ${path} is not permitted`;
        return {
          report: {
            ...described(name),
            tried,
            problem,
            remedy: "run deno with --allow-ffi and no --deny-ffi",
          },
        };
      }
      // A library that is there but cannot be used is worth more words than the other places.
      if (path.includes("/") || via === override) {
        const missing = messageOf(error).match(/register symbol '?(\w+)/)?.[1];
        const problem = missing === undefined
          ? `${path} cannot be used: ${messageOf(error)}`
          : `${path} is not ${title} of a version that will do: it has no ${missing}`;
        const remedy = via === override ? corrected(name) : install;
        return { report: { ...described(name), path, via, tried, problem, remedy } };
      }
    }
  }
  const flags = host.denied.size > 0 ? ` (or let it look: ${[...host.denied].join(" ")})` : "";
  return {
    report: {
      ...described(name),
      tried,
      problem: `${soname(major)} was not found`,
      remedy: host.env(override) === undefined
        ? `${install}, or set ${override}${flags}`
        : `${corrected(name)}${flags}`,
    },
  };
}

/** What to do where an override leads to nothing that can be used. */
function corrected(name: LibraryName): string {
  return `correct ${libraries[name].override}, or unset it to look elsewhere; else ${
    libraries[name].install
  }`;
}

/** The first line of what an error says. */
function messageOf(error: unknown): string {
  const [line] = (error instanceof Error ? error.message : String(error)).split("\n");
  return line.replace(/^(Could not open library: )+/, "");
}

const RTLD_NOW = 2, RTLD_NOLOAD = 4;

/**
 * Takes one more reference to a loaded library, and never gives it back. Deno closes the libraries of a worker or test
 * file when that ends, and cuDNN does not survive being unloaded and loaded again in one process: it crashes in an
 * engine. Where libc itself may not be opened, only such a process is the worse for it.
 */
function keepLoaded(path: string): void {
  try {
    const libc = Deno.dlopen(
      "libc.so.6",
      { dlopen: { parameters: ["buffer", /* filename */ "i32" /* flags */], result: "pointer" } } as const,
    );
    libc.symbols.dlopen(new TextEncoder().encode(`${path}\0`), RTLD_NOW | RTLD_NOLOAD);
    libc.close();
  } catch { /* see above */ }
}
