import { ShaderStage } from "./flags.ts";
import type { Dispatch } from "./lower.ts";
import { validated, type Validation } from "./validation.ts";

/** A compiled kernel. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  /** WebGPU's validation of it. */
  readonly validation: Validation;
}

interface Entry extends Pipeline {
  /** The number of live dispatches that use it. */
  users: number;
  /** As large as its machine code, which V8 does not count; so V8 collects released pipelines soon enough. */
  readonly weight: ArrayBuffer;
}

/** Pipelines by their code, shared by all programs of a device: most steps of a deep network are alike. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  /** The most recently used last. */
  readonly #pipelines = new Map<string, Entry>();
  #unused = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The number of pipelines in memory. */
  get size(): number {
    return this.#pipelines.size;
  }

  /** Takes the pipeline of a dispatch; it stays until it has been released as often as it was taken. */
  take({ code, access, label }: Dispatch): Pipeline {
    const known = this.#pipelines.get(code);
    const entry = known ?? this.#compile(code, access, label);
    if (known?.users === 0) this.#unused--;
    entry.users++;
    this.#pipelines.delete(code);
    this.#pipelines.set(code, entry);
    return entry;
  }

  /** Releases a pipeline. The last {@link UNUSED} unused ones are kept for later programs. */
  release({ code }: Dispatch): void {
    const entry = this.#pipelines.get(code);
    if (entry === undefined) throw new Error("webgpu: a pipeline was released more often than it was taken");
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

/** The approximate size of a pipeline of llvmpipe. An array that is never touched takes no memory itself. */
const CODE_BYTES = 2 ** 18;

/** The most pipelines kept that no program uses. */
export const UNUSED = 128;
