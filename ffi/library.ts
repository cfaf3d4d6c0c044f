/**
 * Opens CUDA's libraries, all of one major version, and reports on each: its file and version, or what is missing.
 *
 * @module
 */
import { type CublasLt, cublasLtSymbols } from "./cublas.ts";
import { type Cudnn, cudnnSymbols } from "./cudnn.ts";
import { checkDriver, type Driver, driverSymbols } from "./driver.ts";
import { type Host, thisHost } from "./host.ts";
import { keepLoaded } from "./keep_loaded.ts";
import { outI32 } from "./memory.ts";
import { type Nvrtc, nvrtcSymbols, nvrtcVersion } from "./nvrtc.ts";
import { parent } from "./places.ts";
import {
  cudnnParts,
  libraries,
  type LibraryName,
  libraryNames,
  majors,
  nvrtcParts,
  search,
} from "./search.ts";

/** A report on one library, for `doctor`. */
export interface LibraryReport {
  /** The library. */
  readonly name: LibraryName;
  /** Its title and purpose. */
  readonly title: string;
  /** Its file, if one was opened or could not be used. */
  readonly path?: string;
  /** The reason why it was searched for there. */
  readonly via?: string;
  /** Its version, such as `13.0`. */
  readonly version?: string;
  /** The places searched, each with the result. */
  readonly tried: readonly string[];
  /** The reason why it cannot be used, if it cannot. */
  readonly problem?: string;
  /** The remedy for the problem. */
  readonly remedy?: string;
}

/** The libraries that could be opened, and a report on all of them. */
export interface CudaLibraries {
  /** The CUDA driver. */
  readonly driver?: Driver;
  /** The run-time compiler. */
  readonly nvrtc?: Nvrtc;
  /** Matrix products. */
  readonly cublasLt?: CublasLt;
  /** Convolutions. */
  readonly cudnn?: Cudnn;
  /** One report for each library. */
  readonly reports: readonly LibraryReport[];
  /** Closes the libraries. Only tests do: threads and caches of the libraries may be in use until a process ends. */
  close(): void;
}

const symbols = {
  driver: driverSymbols,
  nvrtc: nvrtcSymbols,
  cublasLt: cublasLtSymbols,
  cudnn: cudnnSymbols,
} as const;

/** The functions of a library. */
type Functions<L extends LibraryName> = Deno.DynamicLibrary<(typeof symbols)[L]>["symbols"];

/** A library's version, and the major version of CUDA that it was built for. */
interface Identity {
  readonly major: number;
  readonly version: string;
}

/** A library that was opened. */
interface Opened extends Identity {
  readonly functions: Functions<LibraryName>;
  readonly path: string;
}

/** Formats a version number: 13000 as `13.0` with `unit` 1000, 130001 as `13.0.1` with `unit` 10000. */
function dotted(version: number, unit: number = 1000): string {
  const major = Math.floor(version / unit);
  const rest = version % unit;
  return unit === 1000 && version < 100000 && rest % 10 === 0
    ? `${major}.${rest / 10}`
    : `${major}.${Math.floor(rest / 100)}.${rest % 100}`;
}

/** Asks each library for its identity. */
const identify: { readonly [L in LibraryName]: (functions: Functions<L>) => Identity } = {
  driver(driver) {
    const version = outI32();
    checkDriver(driver, driver.cuDriverGetVersion(version.buffer), "asking for its version");
    return { major: Math.floor(version.value / 1000), version: `for CUDA ${dotted(version.value)}` };
  },
  nvrtc(nvrtc) {
    const [major, minor] = nvrtcVersion(nvrtc);
    return { major, version: `${major}.${minor}` };
  },
  cublasLt(cublas) {
    const cuda = Number(cublas.cublasLtGetCudartVersion());
    return {
      major: Math.floor(cuda / 1000),
      version: `${dotted(Number(cublas.cublasLtGetVersion()), 10000)} for CUDA ${dotted(cuda)}`,
    };
  },
  cudnn(cudnn) {
    const cuda = Number(cudnn.cudnnGetCudartVersion());
    const version = Number(cudnn.cudnnGetVersion());
    if (version < 90000 || version >= 100000) {
      // cuDNN up to 8 numbered its versions in thousands.
      const old = version < 10000
        ? `${Math.floor(version / 1000)}.${Math.floor(version / 100) % 10}.${version % 100}`
        : "";
      throw new Error(`it is version ${old || dotted(version, 10000)}, and 9 is needed`);
    }
    return {
      major: Math.floor(cuda / 1000),
      version: `${dotted(version, 10000)} for CUDA ${dotted(cuda)}`,
    };
  },
};

/** Options of {@link openLibraries}. */
export interface OpenLibrariesOptions {
  /** The machine to search; default: this one. */
  host?: Host;
  /** Stops if there is no driver, without which the other libraries are of no use; default: false. */
  needDriver?: boolean;
}

/** Opens those of the four libraries that this machine has. */
export function openLibraries(options: OpenLibrariesOptions = {}): CudaLibraries {
  const { host = thisHost(), needDriver = false } = options;
  const handles: { close(): void }[] = [];
  const close = () => handles.splice(0).forEach((handle) => handle.close());
  const none = (problem: string, remedy: string): CudaLibraries => ({
    reports: libraryNames.map((name): LibraryReport => ({ ...described(name), tried: [], problem, remedy })),
    close,
  });
  if (!host.mayOpen) {
    return none(
      "opening libraries is not permitted",
      "run deno with --allow-ffi, not with a list of paths, which does not permit pointers (and with --allow-read " +
        "--allow-env)",
    );
  }
  if (host.os !== "linux") {
    return none(`CUDA works on Linux only, not on ${host.os}`, "use webgpu or cpu");
  }

  const reports = new Map<LibraryName, LibraryReport>();
  const opened = new Map<LibraryName, Opened>();
  const reportOf = (name: LibraryName): LibraryReport =>
    reports.get(name) ?? { ...described(name), tried: [] };
  const open = (name: LibraryName, major: number): Opened | undefined => {
    const found = openOne(name, major, host, handles);
    reports.set(name, found.report);
    if (found.opened !== undefined) opened.set(name, found.opened);
    return found.opened;
  };

  const driver = open("driver", majors[0]);
  if (driver === undefined && needDriver) return { reports: [...reports.values()], close };
  // The driver supports libraries for its own major version and older ones.
  const usable = majors.filter((major) => driver === undefined || major <= driver.major);
  const major = usable.find((major) => {
    const first = openOne("nvrtc", major, host, handles);
    if (first.opened === undefined && reports.has("nvrtc")) return false; // keep the report on the newest
    reports.set("nvrtc", first.report);
    if (first.opened !== undefined) opened.set("nvrtc", first.opened);
    return first.opened !== undefined;
  }) ?? usable[0] ?? majors[0];
  for (const name of ["cublasLt", "cudnn"] as const) open(name, major);

  const ceiling = opened.get("nvrtc")?.major ?? major;
  for (const [name, library] of opened) {
    const conflicts = name === "driver" ? library.major < ceiling : library.major !== ceiling;
    if (!conflicts) continue;
    const problem = name === "driver"
      ? `the driver is ${library.version}, and the libraries found are for CUDA ${ceiling}`
      : `${library.path} is for CUDA ${library.major}, but NVRTC is for CUDA ${ceiling}`;
    reports.set(name, {
      ...reportOf(name),
      problem,
      remedy: `use one major version of CUDA: ${libraries[name].install}, or set ${libraries[name].override}`,
    });
    opened.delete(name);
  }
  return {
    ...Object.fromEntries(Array.from(opened, ([name, { functions }]) => [name, functions])),
    reports: libraryNames.map(reportOf),
    close,
  };
}

function described(name: LibraryName): { name: LibraryName; title: string } {
  return { name, title: `${libraries[name].title} (${libraries[name].purpose})` };
}

/** Opens the first usable candidate for a library, and reports on it. */
function openOne<L extends LibraryName>(
  name: L,
  major: number,
  host: Host,
  handles: { close(): void }[],
): { report: LibraryReport; opened?: Opened } {
  const { title, override, install, soname } = libraries[name];
  const { candidates, tried: searched } = search(name, major, host);
  const tried = [...searched];
  for (const { path, via } of candidates) {
    try {
      // Opened first, by path, so that the library, which opens them by bare name, gets these and no other version.
      for (const part of partsOf(name, path, major, host)) {
        try {
          handles.push(Deno.dlopen(part, {}));
          keepLoaded(part);
        } catch (error) { // an engine may lack a dependency; libcudnn reports that if it needs the engine
          tried.push(`${part}: ${messageOf(error)}`);
        }
      }
      const library = Deno.dlopen(path, symbols[name]);
      handles.push(library);
      keepLoaded(path);
      const identity = identify[name](library.symbols);
      const opened = { path, functions: library.symbols, ...identity };
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
      // A library that exists but cannot be used ends the search.
      if (path.includes("/") || via === override) {
        const missing = messageOf(error).match(/register symbol '?(\w+)/)?.[1];
        const problem = missing === undefined
          ? `${path} cannot be used: ${messageOf(error)}`
          : `${path} is not a supported version of ${title}: it has no ${missing}`;
        const remedy = via === override ? correction(name) : install;
        return { report: { ...described(name), path, via, tried, problem, remedy } };
      }
    }
  }
  const flags = host.denied.size > 0 ? ` (or let the search read more: ${[...host.denied].join(" ")})` : "";
  return {
    report: {
      ...described(name),
      tried,
      problem: `${soname(major)} was not found`,
      remedy: host.env(override) === undefined
        ? `${install}, or set ${override}${flags}`
        : `${correction(name)}${flags}`,
    },
  };
}

/** The other files of a library, in its folder; none for a bare name. */
function partsOf(name: LibraryName, path: string, major: number, host: Host): string[] {
  if (!path.includes("/")) return [];
  switch (name) {
    case "cudnn":
      return cudnnParts(parent(path), host);
    case "nvrtc":
      return nvrtcParts(parent(path), major, host);
    default:
      return [];
  }
}

/** The remedy where an override leads to no usable library. */
function correction(name: LibraryName): string {
  return `correct ${libraries[name].override}, or unset it to search elsewhere; otherwise ${
    libraries[name].install
  }`;
}

/** The first line of an error's message. */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/\n.*/s, "").replace(/^(Could not open library: )+/, "");
}
