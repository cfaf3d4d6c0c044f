/** How the programs of a run on a card open their device: on CUDA, or to record kernels (see kernels.ts). */
import type { Backend } from "../../src/backends/backend.ts";
import { type CudaBackend, type CudaOptions, openCuda } from "../../src/backends/cuda/backend.ts";

/** Opens a backend with options of CUDA. */
export type Opener<B extends Backend = Backend> = (options: CudaOptions) => Promise<B>;

/** Opens the card. */
export const onCard: Opener<CudaBackend> = async (options) => {
  const result = await openCuda(options);
  if (!("backend" in result)) throw new Error(`${result.reason}; ${result.remedy}`);
  return result.backend as CudaBackend;
};

/** Prints one result of a program as a line of JSON. */
export function say(result: Readonly<Record<string, unknown>>): void {
  console.log(JSON.stringify(result));
}
