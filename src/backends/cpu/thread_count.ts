/** The most threads: each has its own JavaScript engine, of some megabytes. */
export const MOST_THREADS = 1024;

/** The threads of a device that is not told how many: one per logical processor. */
export function defaultThreads(): number {
  return Math.min(navigator.hardwareConcurrency, MOST_THREADS);
}

/** Bytes of scratch memory reserved for each thread so that it has `bytes`. */
export function threadScratch(bytes: number): number {
  if (bytes === 0) return 0;
  return Math.ceil(bytes / 4096) * 4096 + 64; // so that the threads' buffers do not collide in the caches
}
