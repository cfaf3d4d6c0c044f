import type { Plan } from "../../compile/plan.ts";
import { LocalgradError } from "../../errors.ts";
import type { DeviceBuffer, Executable } from "../backend.ts";
import type { Arena } from "./arena.ts";
import { type Gpu, own } from "./device.ts";
import { type Dispatch, EMPTY_BYTES, type Range } from "./lower.ts";
import type { Pipeline, Pipelines } from "./pipelines.ts";
import type { Readback } from "./readback.ts";

/** What an executable is made of. */
export interface Parts {
  readonly gpu: Gpu;
  readonly arena: Arena;
  readonly readback: Readback;
  readonly pipelines: Pipelines;
  readonly plan: Plan;
  readonly constants: readonly GPUBuffer[];
  readonly dispatches: readonly Dispatch[];
}

interface Entry {
  readonly dispatch: Dispatch;
  readonly compiled: Pipeline;
  /** The bind group of the last run, and the buffers it binds. */
  bound?: { readonly group: GPUBindGroup; readonly buffers: readonly GPUBuffer[] };
}

/** A plan's dispatches: one compute pass, one submission a run. */
export class WebGpuExecutable implements Executable {
  readonly #parts: Parts;
  readonly #entries: Entry[];
  /** Bound for values without elements, where there are any. */
  readonly #empty: GPUBuffer | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#entries = parts.dispatches.map((dispatch) => ({
      dispatch,
      compiled: parts.pipelines.get(dispatch),
    }));
    if (parts.dispatches.some(({ ranges }) => ranges.some(({ kind }) => kind === "empty"))) {
      this.#empty = parts.gpu.create(EMPTY_BYTES, GPUBufferUsage.STORAGE);
    }
    parts.gpu.check();
  }

  run(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]): void {
    const { gpu, arena, readback, constants, plan } = this.#parts;
    for (const donor of plan.donors) {
      if (donor >= 0 && inputs.some((buffer, i) => i !== donor && buffer === inputs[donor])) {
        throw new LocalgradError(
          `${plan.name}: the array passed as ${
            plan.inputs[donor].name
          } is given away and passed a second time; copy it first`,
        );
      }
    }
    readback.flush();
    gpu.check();
    arena.grow(plan.arenaBytes);
    const bufferOf = (range: Range): { buffer: GPUBuffer; offset: number } => {
      switch (range.kind) {
        case "arena":
          return arena.at(range.offset);
        case "input":
          return { buffer: own(inputs[range.index]), offset: 0 };
        case "output":
          return { buffer: own(outputs[range.index]!), offset: 0 };
        case "constant":
          return { buffer: constants[range.index], offset: 0 };
        case "empty":
          return { buffer: this.#empty!, offset: 0 };
      }
    };
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    let current: Pipeline | undefined;
    for (const entry of this.#entries) {
      const { dispatch, compiled } = entry;
      if (compiled !== current) pass.setPipeline(compiled.pipeline);
      current = compiled;
      const places = dispatch.ranges.map(bufferOf);
      if (!entry.bound || places.some(({ buffer }, i) => buffer !== entry.bound!.buffers[i])) {
        const group = gpu.device.createBindGroup({
          layout: compiled.layout,
          entries: places.map(({ buffer, offset }, binding) => ({
            binding,
            resource: { buffer, offset, size: dispatch.ranges[binding].bytes },
          })),
        });
        entry.bound = { group, buffers: places.map(({ buffer }) => buffer) };
      }
      pass.setBindGroup(0, entry.bound.group);
      pass.dispatchWorkgroups(...dispatch.groups);
    }
    pass.end();
    gpu.device.queue.submit([encoder.finish()]);
  }

  dispose(): void {
    for (const buffer of this.#parts.constants) this.#parts.gpu.destroy(buffer);
    if (this.#empty) this.#parts.gpu.destroy(this.#empty);
    for (const entry of this.#entries) delete entry.bound;
  }
}
