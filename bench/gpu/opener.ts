/** How the programs of a run on a card open their device: on CUDA, or to record kernels (see kernels.ts). */
import type { Backend } from "../../src/backends/backend.ts";
import { type CudaBackend, type CudaOptions, openCuda } from "../../src/backends/cuda/backend.ts";

/** Opens a backend with options of CUDA. */
export type Opener<B extends Backend = Backend> = (options: CudaOptions) => Promise<B>;

/** Opens the card; with GPU_SYNC_LAUNCHES it waits for every launch, so that an error names the one that failed. */
export const onCard: Opener<CudaBackend> = async (options) => {
  const waits = Deno.env.get("GPU_SYNC_LAUNCHES") !== undefined;
  const result = await openCuda(waits ? { ...options, graphs: false, syncLaunches: true } : options);
  if (!("backend" in result)) throw new Error(`${result.reason}; ${result.remedy}`);
  return result.backend as CudaBackend;
};

/** Prints one result of a program as a line of JSON. */
export function say(result: Readonly<Record<string, unknown>>): void {
  console.log(JSON.stringify(result));
}
