/**
 * Finds and opens oneDNN, and reports on it: its file, version and instruction set, or what to install.
 *
 * @module
 */
import { type Host, thisHost } from "./host.ts";
import { keepLoaded } from "./keep_loaded.ts";
import { type LibraryReport, messageOf } from "./library.ts";
import { bytesAt } from "./memory.ts";
import { type Onednn, onednnSymbols, type Openmp, openmpSymbols, versionSymbols } from "./onednn.ts";
import { dnnlIsa, dnnlRuntime, dnnlVersion } from "./onednn_constants.ts";
import { folderNamed, multiarch, Places, pythonPrefixes } from "./places.ts";

/** The environment variable that names oneDNN's file or folder, or a bare name for the system's loader. */
export const ONEDNN_OVERRIDE = "LOCALGRAD_LIBDNNL";

/** Instructions for installing oneDNN. */
export const ONEDNN_INSTALL =
  "install oneDNN 3 built with OpenMP: the package libdnnl3 (Debian 13, Ubuntu 24.04) " +
  "or onednn (Fedora, Homebrew, conda-forge), or `pip install onednn-cpu-gomp` in a virtual environment";

/** The major version that the symbol table describes. */
const MAJOR = 3;

/** A report on oneDNN, for `doctor`. */
export interface OnednnReport extends Omit<LibraryReport, "name"> {
  /** The widest instruction set that it uses on this machine, such as `avx512_core_bf16`. */
  readonly instructions?: string;
  /** Whether that set multiplies bf16: AVX-512 BF16 and its successors. Others convert first, which is slower than f32. */
  readonly bf16?: boolean;
}

/** oneDNN, if it could be opened, and a report on it. */
export interface OnednnLibrary {
  /** The library; its file, so that other threads can open the same. */
  readonly opened?: {
    readonly path: string;
    readonly onednn: Onednn;
    /** Undefined in a build without threads of its own. */
    readonly openmp?: Openmp;
  };
  /** The report. */
  readonly report: OnednnReport;
  /** Closes it. Only tests do. */
  close(): void;
}

/** The file of a major version of oneDNN. */
function fileName(host: Host, major: number): string {
  return host.os === "darwin" ? `libdnnl.${major}.dylib` : `libdnnl.so.${major}`;
}

/** The places where oneDNN may be: an override, Pythons, conda, the system's loader, Homebrew. */
export function searchOnednn(host: Host, major: number = MAJOR): Places {
  const places = new Places(host, fileName(host, major));
  if (places.override(ONEDNN_OVERRIDE)) return places;
  // A wheel's data files are in the folder that Python is installed in, not among its packages.
  for (const prefix of pythonPrefixes(host)) {
    if (prefix !== "/usr" && prefix !== "/") places.look(`${prefix}/lib`, "a Python wheel");
  }
  const conda = folderNamed(host, "CONDA_PREFIX");
  if (conda !== undefined) places.look(`${conda}/lib`, "CONDA_PREFIX");
  places.loader();
  for (const brew of ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"]) {
    places.look(`${brew}/lib`, "Homebrew");
  }
  if (host.os === "linux") {
    for (const folder of [multiarch(host), "/usr/lib64"]) places.look(folder, "system folder");
  }
  return places;
}

/** Opens the first usable oneDNN of this machine. It stays loaded: its threads may be in use until a process ends. */
export function openOnednn(host: Host = thisHost()): OnednnLibrary {
  const handles: { close(): void }[] = [];
  const close = () => handles.splice(0).forEach((handle) => handle.close());
  const described = { title: "oneDNN (convolutions and products on a CPU)" };
  const without = (problem: string, remedy: string, tried: readonly string[] = []): OnednnLibrary => ({
    report: { ...described, tried, problem, remedy },
    close,
  });
  if (!host.mayOpen) {
    return without(
      "opening libraries is not permitted",
      "run deno with --allow-ffi, not with a list of paths, which does not permit pointers (and with --allow-read " +
        "--allow-env)",
    );
  }
  if (host.os !== "linux" && host.os !== "darwin") {
    return without(`oneDNN is supported on Linux and macOS only, not on ${host.os}`, "use WebAssembly");
  }
  const { candidates, tried } = searchOnednn(host);
  let fault: { path: string; why: string } | undefined;
  for (const { path, via } of candidates) {
    try {
      const library = openFile(path, handles);
      const { onednn, openmp, version } = library;
      const report = {
        ...described,
        path,
        via,
        version,
        tried,
        instructions: instructionsOf(onednn),
        bf16: multipliesBf16(onednn),
      };
      return { opened: { path, onednn, ...(openmp === undefined ? {} : { openmp }) }, report, close };
    } catch (error) {
      const why = explained(messageOf(error));
      tried.push(`${path}: ${why}`);
      // A loader that finds nothing reports no fault of a file.
      if (path.includes("/") || host.env(ONEDNN_OVERRIDE) !== undefined) fault ??= { path, why };
    }
  }
  const overridden = host.env(ONEDNN_OVERRIDE) !== undefined;
  const remedy = overridden
    ? `correct ${ONEDNN_OVERRIDE}, or unset it to search elsewhere; otherwise ${ONEDNN_INSTALL}`
    : `${ONEDNN_INSTALL}, or set ${ONEDNN_OVERRIDE}`;
  const flags = host.denied.size > 0 ? ` (or let the search read more: ${[...host.denied].join(" ")})` : "";
  if (fault !== undefined) {
    return without(`${fault.path} cannot be used: ${fault.why}`, `${remedy}${flags}`, tried);
  }
  const older = searchOnednn(host, 2).candidates.find(({ path }) => path.includes("/"));
  const only = older === undefined ? "" : `, only ${older.path}: version 2 has another interface`;
  return without(`${fileName(host, MAJOR)} was not found${only}`, `${remedy}${flags}`, tried);
}

/** Opens a file, if it is of the right version and build. */
function openFile(path: string, handles: { close(): void }[]): {
  onednn: Onednn;
  openmp?: Openmp;
  version: string;
} {
  const named = path.match(/libdnnl\.(?:so\.)?(\d+)/)?.[1];
  if (named !== undefined && Number(named) !== MAJOR) {
    throw new Error(`it is version ${named}, and version ${MAJOR} is needed`);
  }
  const versioned = Deno.dlopen(path, versionSymbols);
  handles.push(versioned);
  keepLoaded(path);
  const fields = new DataView(bytesAt(versioned.symbols.dnnl_version(), 32).buffer);
  const version = [dnnlVersion.major, dnnlVersion.minor, dnnlVersion.patch].map((at) =>
    fields.getInt32(at, true)
  );
  if (version[0] !== MAJOR) {
    throw new Error(`it is version ${version.join(".")}, and version ${MAJOR} is needed`);
  }
  const runtime = fields.getUint32(dnnlVersion.cpu_runtime, true);
  const { DNNL_RUNTIME_OMP, DNNL_RUNTIME_SEQ } = dnnlRuntime;
  if (runtime !== DNNL_RUNTIME_OMP && runtime !== DNNL_RUNTIME_SEQ) {
    throw new Error(
      `it is ${builds[runtime] ?? `built for runtime ${runtime}`}, and one with OpenMP is needed`,
    );
  }
  const library = Deno.dlopen(path, onednnSymbols);
  handles.push(library);
  const found = { onednn: library.symbols, version: version.join(".") };
  if (runtime === DNNL_RUNTIME_SEQ) return found;
  const openmp = Deno.dlopen(path, openmpSymbols);
  handles.push(openmp);
  return { ...found, openmp: openmp.symbols };
}

/** Descriptions of builds for runtimes that are not supported. */
const builds: Readonly<Record<number, string>> = {
  [dnnlRuntime.DNNL_RUNTIME_NONE]: "a build without a CPU engine",
  [dnnlRuntime.DNNL_RUNTIME_TBB]: "a build with TBB threads",
  [dnnlRuntime.DNNL_RUNTIME_THREADPOOL]: "a build for the program's own thread pool",
  [dnnlRuntime.DNNL_RUNTIME_SYCL]: "a SYCL build",
};

/** A loader's message, with the reason where a SYCL build lacks its runtime or a symbol is missing. */
function explained(message: string): string {
  if (/lib(sycl|ur_loader|pi_\w+|svml|imf|intlc|irng)\b/.test(message)) {
    return `it is a SYCL build, and one with OpenMP is needed (${message})`;
  }
  const symbol = message.match(/register symbol '?(\w+)/)?.[1];
  return symbol === undefined ? message : `it has no ${symbol}`;
}

/** The name of the instruction set in use. */
function instructionsOf(onednn: Onednn): string {
  const isa = onednn.dnnl_get_effective_cpu_isa();
  const name = Object.entries(dnnlIsa).find(([, value]) => value === isa)?.[0];
  return name?.replace("dnnl_cpu_isa_", "") ?? `instruction set ${isa}`;
}

/** Tests for instructions that multiply bf16: those of AVX-512 BF16, which every wider set has. */
function multipliesBf16(onednn: Onednn): boolean {
  const { dnnl_cpu_isa_avx512_core_bf16: needed } = dnnlIsa;
  return (onednn.dnnl_get_effective_cpu_isa() & needed) === needed;
}
