/** A backend that computes nothing and records the kernels of the plans it is given. */
import type { Backend, DeviceBuffer, Executable } from "../../src/backends/backend.ts";
import type { CudaOptions } from "../../src/backends/cuda/backend.ts";
import { lowerPlan } from "../../src/backends/cuda/lower.ts";
import { callsOf, type Source, sourceOf } from "../../src/backends/cuda/source.ts";
import { precisionsOf, targetOf } from "../../src/backends/cuda/target.ts";
import type { Plan, Target } from "../../src/compile/plan.ts";

/** Kernels for a described card. Results are zeros. */
export class Recorder implements Backend {
  readonly name = "cuda";
  readonly description = "a recorder of kernels";
  readonly target: Target;
  readonly liveBuffers = 0;
  readonly liveBytes = 0;
  readonly #sources: Map<string, Source>;

  /** `sources` receives the source of each plan, by its text. */
  constructor(
    { architecture, memory }: { readonly architecture: number; readonly memory: number },
    { precision, overlap = false }: CudaOptions,
    sources: Map<string, Source>,
  ) {
    const precisions = precisionsOf(architecture);
    this.target = targetOf([...new Set([precision ?? precisions[0], ...precisions])], memory, { overlap });
    this.#sources = sources;
  }

  compile(plan: Plan): Executable {
    // Whether cuDNN takes a bias into a convolution is known on the card alone.
    for (const fuses of [true, false]) {
      const source = sourceOf(callsOf(lowerPlan(plan, () => fuses)));
      if (source.names.length > 0) this.#sources.set(source.text, source);
    }
    return { run: () => undefined, dispose: () => undefined };
  }
  allocate(bytes: number): DeviceBuffer {
    return { bytes };
  }
  free(): void {}
  write(): void {}
  read(_: DeviceBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(new Uint8Array(bytes));
  }
  finish(): Promise<void> {
    return Promise.resolve();
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}
