/**
 * What `doctor` says of CUDA: each library, and whether there is a card that will do, with enough memory free.
 *
 * @module
 */
import { deviceAttribute, type Driver, driverError, driverStatus, OLDEST_ARCHITECTURE } from "./driver.ts";
import { type CudaLibraries, type LibraryReport, openLibraries } from "./library.ts";
import { textOf } from "./memory.ts";
import { LibraryError } from "./status.ts";

/** What the driver says of one card. */
export interface CardReport {
  /** Its name. */
  readonly name: string;
  /** Its architecture, such as `sm_90`. */
  readonly architecture: string;
  /** Bytes of memory. */
  readonly totalBytes: number;
  /** Bytes that a program would find free, its context apart; undefined where the card gives no context. */
  readonly freeBytes?: number;
  /** Why it will not do, if it will not. */
  readonly problem?: string;
  /** What would mend it. */
  readonly remedy?: string;
}

/** What memory is wanted for, such as a training step. */
export interface MemoryNeed {
  /** What it is, for people. */
  readonly what: string;
  /** How much it takes. */
  readonly bytes: number;
}

/** All that is known of CUDA on this machine. */
export interface CudaReport {
  /** One report for each library. */
  readonly libraries: readonly LibraryReport[];
  /** The cards; none where there is no driver. */
  readonly cards: readonly CardReport[];
  /** What the cards' memory was compared with. */
  readonly need?: MemoryNeed;
  /** What the driver says instead of naming cards. */
  readonly problem?: string;
}

/** Looks for CUDA's libraries and cards. Each card is opened, to see what is free, and closed; nothing is allocated. */
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
    const why = (error as Error).message;
    return { ...report, cards: [], problem: none ? `${why}; ${NO_CARD}` : why };
  }
}

/** What to do where there is a driver and no card. */
export const NO_CARD = "check `nvidia-smi` (in a container: start it with `--gpus all`)";

function cardsOf(driver: Driver, need: MemoryNeed | undefined): CardReport[] {
  const ask = (status: number, doing: string): void => {
    if (status !== driverStatus.CUDA_SUCCESS) throw driverError(driver, status, doing);
  };
  const number = new Int32Array(1), bytes = new BigUint64Array(1), name = new Uint8Array(256);
  ask(driver.cuInit(0), "starting the driver");
  ask(driver.cuDeviceGetCount(number), "counting cards");
  return Array.from({ length: number[0] }, (_, ordinal) => {
    ask(driver.cuDeviceGet(number, ordinal), `choosing card ${ordinal}`);
    const device = number[0];
    ask(driver.cuDeviceGetName(name, name.length, device), "asking for a card's name");
    ask(driver.cuDeviceTotalMem_v2(bytes, device), "asking for a card's memory");
    const attribute = (which: number): number => {
      ask(driver.cuDeviceGetAttribute(number, which, device), "asking about a card");
      return number[0];
    };
    const major = attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    const minor = attribute(deviceAttribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    const card = { name: textOf(name), architecture: `sm_${major}${minor}`, totalBytes: Number(bytes[0]) };
    if (major * 10 + minor < OLDEST_ARCHITECTURE) {
      const remedy = "use a newer card, or --device webgpu or cpu";
      return { ...card, problem: `too old: sm_${OLDEST_ARCHITECTURE} is needed`, remedy };
    }
    const free = freeBytes(driver, device);
    if (typeof free !== "number") {
      return {
        ...card,
        problem: free.message,
        remedy: "see `nvidia-smi` for who uses it, and in which mode",
      };
    }
    if (need === undefined || free >= need.bytes) return { ...card, freeBytes: free };
    return {
      ...card,
      freeBytes: free,
      problem: `${need.what} takes ${formatBytes(need.bytes)}, and ${formatBytes(free)} are free`,
      remedy: "end what else uses the card (`nvidia-smi` lists it), or take a smaller batch or more modules",
    };
  });
}

/** Bytes that are free on a card once a program has opened it, or why it cannot be opened. */
function freeBytes(driver: Driver, device: number): number | LibraryError {
  const context = new BigUint64Array(1), free = new BigUint64Array(1), total = new BigUint64Array(1);
  const retained = driver.cuDevicePrimaryCtxRetain(context, device);
  if (retained !== driverStatus.CUDA_SUCCESS) return driverError(driver, retained, "opening a context");
  try {
    const status = driver.cuCtxSetCurrent(context[0]) || driver.cuMemGetInfo_v2(free, total);
    return status === driverStatus.CUDA_SUCCESS
      ? Number(free[0])
      : driverError(driver, status, "asking for free memory");
  } finally {
    driver.cuDevicePrimaryCtxRelease_v2(device);
  }
}

function formatBytes(bytes: number): string {
  return bytes < 2 ** 29 ? `${(bytes / 2 ** 20).toFixed(0)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** Lines for people: found where, which version, what was tried, what to install. */
export function describeCuda({ libraries, cards, need, problem }: CudaReport): string[] {
  const lines = libraries.flatMap(({ title, path, via, version, tried, problem, remedy }) => {
    const head = problem === undefined
      ? [`  ✓ ${title}: ${version}, ${path} (${via})`]
      : [`  ✗ ${title}: ${problem}`, `      ${remedy}`];
    return problem === undefined ? head : [...head, ...tried.map((place) => `      looked at ${place}`)];
  });
  const found = cards.flatMap(({ name, architecture, totalBytes, freeBytes, problem, remedy }) => {
    const free = freeBytes === undefined ? "" : `, ${formatBytes(freeBytes)} of them free`;
    const facts = `${name}, ${architecture}, ${formatBytes(totalBytes)}${free}`;
    if (problem !== undefined) return [`  ✗ card: ${facts}: ${problem}`, `      ${remedy}`];
    const enough = need === undefined ? "" : `; ${need.what} takes ${formatBytes(need.bytes)}`;
    return [`  ✓ card: ${facts}${enough}`];
  });
  return [...lines, ...found, ...(problem === undefined ? [] : [`  ✗ card: ${problem}`])];
}
