import type { Dispatch } from "./lower.ts";

/** A compiled kernel. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Pipelines by their code, shared by all programs of a device: most steps of a deep network are alike. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #pipelines = new Map<string, Pipeline>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** The pipeline of a dispatch. */
  get({ code, access, label }: Dispatch): Pipeline {
    let entry = this.#pipelines.get(code);
    if (entry === undefined) {
      const layout = this.#layout(access);
      const module = this.#device.createShaderModule({ code, label });
      const pipeline = this.#device.createComputePipeline({
        label,
        layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: "main" },
      });
      entry = { pipeline, layout };
      this.#pipelines.set(code, entry);
    }
    return entry;
  }

  #layout(access: string): GPUBindGroupLayout {
    let layout = this.#layouts.get(access);
    if (layout === undefined) {
      layout = this.#device.createBindGroupLayout({
        entries: Array.from(access, (mode, binding) => ({
          binding,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type: mode === "w" ? "storage" as const : "read-only-storage" as const },
        })),
      });
      this.#layouts.set(access, layout);
    }
    return layout;
  }
}
