/**
 * What `doctor` says of CUDA: each library, and whether there is a card that will do.
 *
 * @module
 */
import { deviceAttribute, type Driver, driverError, driverStatus, OLDEST_ARCHITECTURE } from "./driver.ts";
import { type CudaLibraries, type LibraryReport, openLibraries } from "./library.ts";
import { textOf } from "./memory.ts";

/** What the driver says of one card. */
export interface CardReport {
  /** Its name. */
  readonly name: string;
  /** Its architecture, such as `sm_90`. */
  readonly architecture: string;
  /** Bytes of memory. */
  readonly totalBytes: number;
  /** Why it will not do, if it will not. */
  readonly problem?: string;
}

/** All that is known of CUDA on this machine. */
export interface CudaReport {
  /** One report for each library. */
  readonly libraries: readonly LibraryReport[];
  /** The cards; none where there is no driver. */
  readonly cards: readonly CardReport[];
  /** What the driver says instead of naming cards. */
  readonly problem?: string;
}

/** Looks for CUDA's libraries and cards; nothing is allocated on any. */
export function cudaReport(opened: CudaLibraries = openLibraries()): CudaReport {
  const { driver, reports: libraries } = opened;
  if (driver === undefined) return { libraries, cards: [] };
  try {
    return { libraries, cards: cardsOf(driver) };
  } catch (error) {
    return { libraries, cards: [], problem: (error as Error).message };
  }
}

function cardsOf(driver: Driver): CardReport[] {
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
    const old = major * 10 + minor < OLDEST_ARCHITECTURE;
    return old ? { ...card, problem: `too old: sm_${OLDEST_ARCHITECTURE} is needed` } : card;
  });
}

/** Lines for people: found where, which version, what was tried, what to install. */
export function describeCuda({ libraries, cards, problem }: CudaReport): string[] {
  const lines = libraries.flatMap(({ title, path, via, version, tried, problem, remedy }) => {
    const head = problem === undefined
      ? [`  ✓ ${title}: ${version}, ${path} (${via})`]
      : [`  ✗ ${title}: ${problem}`, `      ${remedy}`];
    return problem === undefined ? head : [...head, ...tried.map((place) => `      looked at ${place}`)];
  });
  const found = cards.map(({ name, architecture, totalBytes, problem }) => {
    const facts = `${name}, ${architecture}, ${(totalBytes / 2 ** 30).toFixed(1)} GiB`;
    return problem === undefined ? `  ✓ card: ${facts}` : `  ✗ card: ${facts}: ${problem}`;
  });
  return [...lines, ...found, ...(problem === undefined ? [] : [`  ✗ card: ${problem}`])];
}
