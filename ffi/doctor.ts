/**
 * The reports of `doctor`: on CUDA, its libraries and the cards with their free memory, on oneDNN, MPI, and NCCL.
 *
 * @module
 */
import { deviceAttribute, type Driver, driverError, driverStatus, OLDEST_ARCHITECTURE } from "./driver.ts";
import { type CudaLibraries, type LibraryReport, openLibraries } from "./library.ts";
import { outI32, outU64, textOf } from "./memory.ts";
import type { MpiReport } from "./mpi_library.ts";
import type { NcclLibrary } from "./nccl_library.ts";
import type { OnednnReport } from "./onednn_library.ts";
import { LibraryError } from "./status.ts";

/** A report on one card. */
export interface CardReport {
  /** Its name. */
  readonly name: string;
  /** Its architecture, such as `sm_90`. */
  readonly architecture: string;
  /** Bytes of memory. */
  readonly totalBytes: number;
  /** Bytes free once a context is open; undefined if none could be opened. */
  readonly freeBytes?: number;
  /** The reason why it cannot be used, if it cannot. */
  readonly problem?: string;
  /** The remedy for the problem. */
  readonly remedy?: string;
}

/** Memory that a program needs, such as a training step. */
export interface MemoryNeed {
  /** A name for it, for messages. */
  readonly what: string;
  /** Bytes. */
  readonly bytes: number;
}

/** A report on CUDA on this machine. */
export interface CudaReport {
  /** One report for each library. */
  readonly libraries: readonly LibraryReport[];
  /** The cards; empty without a driver. */
  readonly cards: readonly CardReport[];
  /** The memory that the cards were checked for. */
  readonly need?: MemoryNeed;
  /** The reason why there are no cards, if there are none. */
  readonly problem?: string;
}

/**
 * Reports on CUDA's libraries and cards. It opens and closes a context on each card to read its free memory, and
 * allocates nothing.
 */
export function cudaReport(opened: CudaLibraries = openLibraries(), need?: MemoryNeed): CudaReport {
  const { driver, reports: libraries } = opened;
  const report = { libraries, ...(need === undefined ? {} : { need }) };
  if (driver === undefined) return { ...report, cards: [] };
  try {
    const cards = cardsOf(driver, need);
    if (cards.length > 0) return { ...report, cards };
    return { ...report, cards, problem: `the driver finds no card; ${NO_CARD}` };
  } catch (error) {
    const none = error instanceof LibraryError && error.status === driverStatus.CUDA_ERROR_NO_DEVICE;
    const message = error instanceof Error ? error.message : String(error);
    return { ...report, cards: [], problem: none ? `${message}; ${NO_CARD}` : message };
  }
}

/** The remedy where there is a driver but no card. */
export const NO_CARD = "check `nvidia-smi` (in a container: start it with `--gpus all`)";

function cardsOf(driver: Driver, need: MemoryNeed | undefined): CardReport[] {
  const check = (status: number, doing: string): void => {
    if (status !== driverStatus.CUDA_SUCCESS) throw driverError(driver, status, doing);
  };
  const number = outI32(), bytes = outU64(), name = new Uint8Array(256);
  check(driver.cuInit(0), "starting the driver");
  check(driver.cuDeviceGetCount(number.buffer), "counting cards");
  return Array.from({ length: number.value }, (_, ordinal) => {
    check(driver.cuDeviceGet(number.buffer, ordinal), `choosing card ${ordinal}`);
    const device = number.value;
    check(driver.cuDeviceGetName(name, name.length, device), "asking for a card's name");
    check(driver.cuDeviceTotalMem_v2(bytes.buffer, device), "asking for a card's memory");
    const attribute = (which: number): number => {
      check(driver.cuDeviceGetAttribute(number.buffer, which, device), "asking about a card");
      return number.value;
    };
    const major = attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    const minor = attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    const card = { name: textOf(name), architecture: `sm_${major}${minor}`, totalBytes: Number(bytes.value) };
    if (major * 10 + minor < OLDEST_ARCHITECTURE) {
      const remedy = "use a newer card, or --device webgpu or cpu";
      return { ...card, problem: `too old: sm_${OLDEST_ARCHITECTURE} is needed`, remedy };
    }
    const free = freeBytes(driver, device);
    if (typeof free !== "number") {
      return {
        ...card,
        problem: free.message,
        remedy: "see `nvidia-smi` for its compute mode and the programs that use it",
      };
    }
    if (need === undefined || free >= need.bytes) return { ...card, freeBytes: free };
    return {
      ...card,
      freeBytes: free,
      problem: `${need.what} takes ${formatBytes(need.bytes)}, but only ${formatBytes(free)} are free`,
      remedy:
        "end other programs on the card (`nvidia-smi` lists them), or use a smaller batch or more modules",
    };
  });
}

/** The free bytes of a card with a context open, or the error if none can be opened. */
function freeBytes(driver: Driver, device: number): number | LibraryError {
  const context = outU64(), free = outU64(), total = outU64();
  const retained = driver.cuDevicePrimaryCtxRetain(context.buffer, device);
  if (retained !== driverStatus.CUDA_SUCCESS) return driverError(driver, retained, "opening a context");
  try {
    const status = driver.cuCtxSetCurrent(context.value) || driver.cuMemGetInfo_v2(free.buffer, total.buffer);
    return status === driverStatus.CUDA_SUCCESS
      ? Number(free.value)
      : driverError(driver, status, "asking for free memory");
  } finally {
    driver.cuDevicePrimaryCtxRelease_v2(device);
  }
}

function formatBytes(bytes: number): string {
  return bytes < 2 ** 29 ? `${(bytes / 2 ** 20).toFixed(0)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** Describes oneDNN in lines of text. */
export function describeOnednn(report: OnednnReport): string[] {
  return describeLibrary(report, `, ${report.instructions}`);
}

/** Describes MPI in lines of text. */
export function describeMpi(report: MpiReport): string[] {
  const started = report.mpirun === undefined ? "no mpirun beside it" : `started by ${report.mpirun}`;
  return describeLibrary(
    { ...report, version: `${report.implementation} ${report.version}` },
    `, ${report.abi}, ${started}`,
  );
}

/** Describes NCCL in lines of text. */
export function describeNccl(report: NcclLibrary["report"]): string[] {
  return describeLibrary(report);
}

/** Describes a library: its file and version, then `more`; or its fault, the remedy, and the places searched. */
function describeLibrary(report: Omit<LibraryReport, "name">, more: string = ""): string[] {
  const { title, path, via, version, tried, problem, remedy } = report;
  return problem === undefined
    ? [`  ✓ ${title}: ${version}${more}, ${path} (${via})`]
    : [`  ✗ ${title}: ${problem}`, `      ${remedy}`, ...tried.map((place) => `      looked at ${place}`)];
}

/** Describes a report in lines of text: files, versions, places searched, and remedies. */
export function describeCuda({ libraries, cards, need, problem }: CudaReport): string[] {
  const lines = libraries.flatMap((report) => describeLibrary(report));
  const found = cards.flatMap(({ name, architecture, totalBytes, freeBytes, problem, remedy }) => {
    const free = freeBytes === undefined ? "" : `, ${formatBytes(freeBytes)} of them free`;
    const facts = `${name}, ${architecture}, ${formatBytes(totalBytes)}${free}`;
    if (problem !== undefined) return [`  ✗ card: ${facts}: ${problem}`, `      ${remedy}`];
    const enough = need === undefined ? "" : `; ${need.what} takes ${formatBytes(need.bytes)}`;
    return [`  ✓ card: ${facts}${enough}`];
  });
  return [...lines, ...found, ...(problem === undefined ? [] : [`  ✗ card: ${problem}`])];
}
