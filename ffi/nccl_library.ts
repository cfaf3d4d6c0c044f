/**
 * Opens NCCL, and reports on it: its file and version, or what is missing.
 *
 * @module
 */
import { type Host, thisHost } from "./host.ts";
import { keepLoaded } from "./keep_loaded.ts";
import { type LibraryReport, messageOf } from "./library.ts";
import { type Nccl, ncclSymbols, ncclVersion } from "./nccl.ts";
import { type Description, majors, searchFor } from "./search.ts";

/** The search for NCCL. Its file has the same name for every version of CUDA. */
export const ncclDescription: Description = {
  title: "NCCL",
  purpose: "moves data between cards",
  override: "LOCALGRAD_LIBNCCL",
  soname: () => "libnccl.so.2",
  wheels: () => ["nvidia/nccl/lib"],
  install: "pip install nvidia-nccl-cu13 (nvidia-nccl-cu12 for CUDA 12), or the package libnccl2",
};

/** The oldest version that has ncclCommInitRankScalable. */
const OLDEST = 22300;

/** NCCL, if it could be opened, and a report on it. */
export interface NcclLibrary {
  /** Its functions. */
  readonly nccl?: Nccl;
  /** The report. */
  readonly report: Omit<LibraryReport, "name">;
}

/** Formats a version number: 23203 as `2.32.3`, and 2708, from before 2.9, as `2.7.8`. */
function dotted(version: number): string {
  const unit = version < 10000 ? 1000 : 10000;
  return `${Math.floor(version / unit)}.${Math.floor(version % unit / 100)}.${version % 100}`;
}

/** Opens the first usable NCCL of this machine. It stays loaded: its threads may run until a process ends. */
export function openNccl(host: Host = thisHost()): NcclLibrary {
  const { title, purpose, override, install, soname } = ncclDescription;
  const described = { title: `${title} (${purpose})` };
  const without = (problem: string, remedy: string, tried: readonly string[] = []): NcclLibrary => ({
    report: { ...described, tried, problem, remedy },
  });
  if (!host.mayOpen) {
    return without(
      "opening libraries is not permitted",
      "run deno with --allow-ffi, not with a list of paths, which does not permit pointers (and with --allow-read " +
        "--allow-env)",
    );
  }
  if (host.os !== "linux") return without(`NCCL works on Linux only, not on ${host.os}`, "use MPI");
  const [major] = majors;
  const { candidates, tried: searched } = searchFor(ncclDescription, major, host);
  const tried = [...searched];
  const overridden = host.env(override) !== undefined;
  const flags = host.denied.size > 0 ? ` (or let the search read more: ${[...host.denied].join(" ")})` : "";
  const remedy = overridden
    ? `correct ${override}, or unset it to search elsewhere; otherwise ${install}${flags}`
    : `${install}, or set ${override}${flags}`;
  for (const { path, via } of candidates) {
    try {
      const identity = Deno.dlopen(path, { ncclGetVersion: ncclSymbols.ncclGetVersion });
      keepLoaded(path);
      const number = new Int32Array(1);
      identity.symbols.ncclGetVersion(number);
      identity.close();
      const [found = 0] = number;
      if (found < OLDEST || found >= 30000) {
        throw new Error(`it is version ${dotted(found)}, and 2.23 or a newer 2 is needed`);
      }
      const { symbols: nccl } = Deno.dlopen(path, ncclSymbols);
      return { nccl, report: { ...described, path, via, version: dotted(ncclVersion(nccl)), tried } };
    } catch (error) {
      const why = messageOf(error).replace(/.*register symbol '?(\w+).*/, "it has no $1");
      tried.push(`${path}: ${why}`);
      // A file that exists but cannot be used ends the search.
      if (path.includes("/") || overridden) return without(`${path} cannot be used: ${why}`, remedy, tried);
    }
  }
  return without(`${soname(major)} was not found`, remedy, tried);
}
