import type { Plan } from "../../compile/plan.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { DeviceBuffer, Executable } from "../backend.ts";
import { BufferUsage } from "./flags.ts";
import type { Arena } from "./arena.ts";
import { own, type WebGpuBuffer } from "./buffer.ts";
import type { Gpu } from "./gpu.ts";
import { type Dispatch, EMPTY_BYTES, type Range } from "./lower.ts";
import type { Pipeline, Pipelines } from "./pipelines.ts";
import type { Readbacks } from "./readbacks.ts";
import { type Pending, validated, type Validation } from "./validation.ts";

/** What an executable is made of. */
export interface Parts {
  readonly gpu: Gpu;
  readonly arena: Arena;
  readonly readbacks: Readbacks;
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
  /** Whether WebGPU has accepted every kernel. */
  #accepted = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#entries = parts.dispatches.map((dispatch) => ({
      dispatch,
      compiled: parts.pipelines.take(dispatch),
    }));
    if (parts.dispatches.some(({ ranges }) => ranges.some(({ kind }) => kind === "empty"))) {
      this.#empty = parts.gpu.create(EMPTY_BYTES, BufferUsage.STORAGE);
    }
    parts.gpu.check();
  }

  run(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]): void {
    const { gpu, arena, readbacks, plan } = this.#parts;
    for (const donor of plan.donors) {
      if (donor >= 0 && inputs.some((buffer, i) => i !== donor && buffer === inputs[donor])) {
        throw new LocalgradError(
          `${plan.name}: the array passed as ${
            plan.inputs[donor].name
          } is given away and passed a second time; copy it first`,
        );
      }
    }
    const given = inputs.map(own);
    const made = outputs.map((buffer, i) => buffer === undefined ? given[plan.donors[i]] : own(buffer));
    readbacks.flush();
    gpu.check();
    const pending = [...this.#pending(), ...given.flatMap((buffer) => buffer.pending)];
    const refused = pending.find(({ validation }) => validation.fault !== undefined);
    if (refused !== undefined) throw refused.error();
    for (const validation of arena.grow(plan.arenaBytes)) {
      pending.push({ validation, error: () => outOfMemory(plan, validation) });
    }
    const open = pending.filter(({ validation }) => !validation.settled);
    if (open.length === 0) this.#submit(given, made);
    else {
      // What is issued on what turns out to be refused is refused too, and says nothing new.
      const { validation } = validated(gpu.device, () => this.#submit(given, made));
      const all = Promise.all([validation.done, ...open.map(({ validation }) => validation.done)]);
      all.then(() => {
        if (validation.fault !== undefined && open.every(({ validation }) => validation.holds)) {
          gpu.fail(validation.fault);
        }
      });
    }
    for (const buffer of made) buffer.pending = open;
  }

  #submit(inputs: readonly WebGpuBuffer[], outputs: readonly WebGpuBuffer[]): void {
    const { gpu, arena, constants, plan } = this.#parts;
    const bufferOf = (range: Range): { buffer: GPUBuffer; offset: number } => {
      switch (range.kind) {
        case "arena":
          return arena.at(range.offset, plan.arenaBytes);
        case "input":
          return { buffer: inputs[range.index].gpu, offset: 0 };
        case "output":
          return { buffer: outputs[range.index].gpu, offset: 0 };
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

  /** What may be wrong with this program. */
  #pending(): Pending[] {
    if (this.#accepted) return [];
    this.#accepted = this.#entries.every(({ compiled }) => compiled.validation.holds);
    const { name } = this.#parts.plan;
    return this.#entries.filter(({ compiled }) => !compiled.validation.holds).map((
      { compiled, dispatch },
    ) => ({
      validation: compiled.validation,
      error: () =>
        new LocalgradError(
          `webgpu: ${name} cannot be compiled: its kernel ${dispatch.label} is refused: ${compiled.validation.fault}`,
        ),
    }));
  }

  dispose(): void {
    for (const buffer of this.#parts.constants) this.#parts.gpu.destroy(buffer);
    if (this.#empty) this.#parts.gpu.destroy(this.#empty);
    for (const { dispatch } of this.#entries.splice(0)) this.#parts.pipelines.release(dispatch);
  }
}

function outOfMemory({ name, arenaBytes }: Plan, { fault }: Validation): LocalgradError {
  return new LocalgradError(
    `webgpu: ${name} needs ${arenaBytes} bytes for what it computes on its way, and the device has no room: ` +
      `${fault}; use a smaller batch`,
    { code: "tooLarge" },
  );
}
