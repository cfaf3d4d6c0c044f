/** Cards that cuDNN can plan for by their description. */
export type Card = "h200" | "a100";

/** The properties of a described card under the names that cuDNN 9.28 expects; no header lists them. */
interface Properties {
  readonly [property: string]: number | string | readonly number[];
}

const common: Properties = {
  cudaDeviceId: 0,
  driverVer: 13000,
  maxGridSize: [2147483647, 65535, 65535],
  maxBlockSize: [1024, 1024, 64],
  regsPerBlock: 65536,
  smCountOrigin: 0,
  warpSize: 32,
  maxSharedMemoryPerBlock: 49152,
  oversizedSharedMemoryPerBlock: 0,
  reservedSharedMemoryPerBlock: 1024,
  maxRegistersPerSM: 65536,
  maxCtasPerSM: 32,
  maxThreadsPerBlock: 1024,
  maxThreadsPerSM: 2048,
  pciDeviceId: 0,
  isTccDriver: 0,
  supportCoopLaunch: 1,
};

const cards: { readonly [C in Card]: Properties } = {
  h200: {
    ...common,
    deviceName: "NVIDIA H200",
    deviceVer: 900,
    multiProcessorCount: 132,
    maxSharedMemoryPerBlockOptin: 232448,
    l2CacheSize: 62914560,
    smClockRateKHz: 1980000,
    memClockRateKHz: 3201000,
    memoryBusWidth: 6144,
    totalGlobalMem: 150121545728,
  },
  a100: {
    ...common,
    deviceName: "NVIDIA A100-SXM4-80GB",
    deviceVer: 800,
    multiProcessorCount: 108,
    maxSharedMemoryPerBlockOptin: 166912,
    l2CacheSize: 41943040,
    smClockRateKHz: 1410000,
    memClockRateKHz: 1593000,
    memoryBusWidth: 5120,
    totalGlobalMem: 85899345920,
  },
};

/** The description of a card for cuDNN's device-properties descriptor. */
export function describe(card: Card): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${JSON.stringify(cards[card])}\0`);
}
