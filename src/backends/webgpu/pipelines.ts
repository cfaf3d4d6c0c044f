import { ShaderStage } from "./flags.ts";
import type { Dispatch } from "./lower.ts";
import { validated, type Validation } from "./validation.ts";

/** A compiled kernel. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  /** Whether WebGPU accepts it. */
  readonly validation: Validation;
}

interface Entry extends Pipeline {
  /** Dispatches of executables that use it. */
  users: number;
  /** As large as its machine code, of which V8 does not know, so that it collects what was let go soon enough. */
  readonly weight: ArrayBuffer;
}

/** Pipelines by their code, shared by all programs of a device: most steps of a deep network are alike. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  /** The last used come last. */
  readonly #pipelines = new Map<string, Entry>();
  #unused = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** How many are held. */
  get size(): number {
    return this.#pipelines.size;
  }

  /** The pipeline of a dispatch, until it is released as often as it was taken. */
  take({ code, access, label }: Dispatch): Pipeline {
    const held = this.#pipelines.get(code);
    const entry = held ?? this.#compile(code, access, label);
    if (held?.users === 0) this.#unused--;
    entry.users++;
    this.#pipelines.delete(code);
    this.#pipelines.set(code, entry);
    return entry;
  }

  /** Gives a pipeline back. The last {@link UNUSED} that nothing uses are kept for programs to come. */
  release({ code }: Dispatch): void {
    const entry = this.#pipelines.get(code)!;
    entry.users--;
    if (entry.users > 0) return;
    this.#unused++;
    for (const [code, { users, validation }] of this.#pipelines) {
      if (users > 0 || (this.#unused <= UNUSED && validation.fault === undefined)) continue;
      this.#pipelines.delete(code);
      this.#unused--;
    }
  }

  #compile(code: string, access: string, label: string): Entry {
    const layout = this.#layout(access);
    const { value: pipeline, validation } = validated(this.#device, () => {
      const module = this.#device.createShaderModule({ code, label });
      return this.#device.createComputePipeline({
        label,
        layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: "main" },
      });
    });
    return { pipeline, layout, validation, users: 0, weight: new ArrayBuffer(CODE_BYTES) };
  }

  #layout(access: string): GPUBindGroupLayout {
    let layout = this.#layouts.get(access);
    if (layout === undefined) {
      layout = this.#device.createBindGroupLayout({
        entries: Array.from(access, (mode, binding) => ({
          binding,
          visibility: ShaderStage.COMPUTE,
          buffer: { type: mode === "w" ? "storage" as const : "read-only-storage" as const },
        })),
      });
      this.#layouts.set(access, layout);
    }
    return layout;
  }
}

/** What a pipeline takes, about, by llvmpipe. Memory that is never touched takes none itself. */
const CODE_BYTES = 2 ** 18;

/** Pipelines kept that no program uses. */
export const UNUSED = 128;
