import type { Plan } from "../../compile/plan.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { DeviceBuffer, Executable, PlanLaunch } from "../backend.ts";
import { BufferUsage } from "./flags.ts";
import type { Arena } from "./arena.ts";
import { own, type WebGpuBuffer } from "./buffer.ts";
import type { Gpu } from "./gpu.ts";
import { type Dispatch, EMPTY_BYTES, type Range } from "./lower.ts";
import type { Pipeline, Pipelines } from "./pipelines.ts";
import type { Readbacks } from "./readbacks.ts";
import { type Pending, validated, type Validation } from "./validation.ts";

/** The parts of an executable. */
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
  /** The bind group of the last run, and its buffers. */
  bound?: { readonly group: GPUBindGroup; readonly buffers: readonly GPUBuffer[] };
}

/** The dispatches of a plan: one compute pass and one submission per run. */
export class WebGpuExecutable implements Executable {
  readonly #parts: Parts;
  readonly #entries: Entry[];
  /** The buffer bound in place of values without elements, if there are any. */
  readonly #empty: GPUBuffer | undefined;
  /** True once WebGPU has accepted every kernel. */
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
            at(plan.inputs, donor).name
          } is donated and passed a second time; copy it first`,
        );
      }
    }
    const { operands, results } = this.#own(inputs, outputs);
    readbacks.flush();
    gpu.check();
    const pending = [...this.#pending(), ...operands.flatMap((buffer) => buffer.pending)];
    const refused = pending.find(({ validation }) => validation.fault !== undefined);
    if (refused !== undefined) throw refused.error();
    for (const validation of arena.grow(plan.arenaBytes)) {
      pending.push({ validation, error: () => outOfMemory(plan, validation) });
    }
    const open = pending.filter(({ validation }) => !validation.settled);
    if (open.length === 0) this.#submit(operands, results, this.#entries);
    else {
      // If a kernel or memory is refused, so is all work that uses it; those errors add nothing.
      const { validation } = validated(gpu.device, () => this.#submit(operands, results, this.#entries));
      const all = Promise.all([validation.done, ...open.map(({ validation }) => validation.done)]);
      all.then(() => {
        if (validation.fault !== undefined && open.every(({ validation }) => validation.passed)) {
          gpu.fail(validation.fault);
        }
      });
    }
    for (const buffer of results) buffer.pending = open;
  }

  launches(
    inputs: readonly DeviceBuffer[],
    outputs: readonly (DeviceBuffer | undefined)[],
  ): readonly PlanLaunch[] {
    const { operands, results } = this.#own(inputs, outputs);
    return this.#entries.map((entry) => ({
      step: entry.dispatch.step,
      code: entry.dispatch.label,
      issue: () => this.#submit(operands, results, [entry]),
    }));
  }

  #own(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]) {
    const operands = inputs.map(own);
    const results = outputs.map((buffer, i) =>
      buffer === undefined ? at(operands, at(this.#parts.plan.donors, i)) : own(buffer)
    );
    return { operands, results };
  }

  #submit(
    inputs: readonly WebGpuBuffer[],
    outputs: readonly WebGpuBuffer[],
    entries: readonly Entry[],
  ): void {
    const { gpu, arena, constants, plan } = this.#parts;
    const bindingOf = ({ kind, index, offset: start, bytes: size }: Range): Required<GPUBufferBinding> => {
      switch (kind) {
        case "arena": {
          const { buffer, offset } = arena.at(start, plan.arenaBytes);
          return { buffer, offset, size };
        }
        case "input":
          return { buffer: at(inputs, index).gpu, offset: 0, size };
        case "output":
          return { buffer: at(outputs, index).gpu, offset: 0, size };
        case "constant":
          return { buffer: at(constants, index), offset: 0, size };
        case "empty":
          if (this.#empty === undefined) throw new Error(`webgpu: ${plan.name} has no empty values`);
          return { buffer: this.#empty, offset: 0, size };
      }
    };
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    let current: Pipeline | undefined;
    for (const entry of entries) {
      const { dispatch, compiled } = entry;
      if (compiled !== current) pass.setPipeline(compiled.pipeline);
      current = compiled;
      const places = dispatch.ranges.map(bindingOf);
      let { bound } = entry;
      if (bound === undefined || places.some(({ buffer }, i) => buffer !== bound?.buffers[i])) {
        const group = gpu.device.createBindGroup({
          layout: compiled.layout,
          entries: places.map((resource, binding) => ({ binding, resource })),
        });
        entry.bound = bound = { group, buffers: places.map(({ buffer }) => buffer) };
      }
      pass.setBindGroup(0, bound.group);
      pass.dispatchWorkgroups(...dispatch.groups);
    }
    pass.end();
    gpu.device.queue.submit([encoder.finish()]);
  }

  /** Validations of this program's kernels that have not passed. */
  #pending(): Pending[] {
    if (this.#accepted) return [];
    const { name } = this.#parts.plan;
    const pending = this.#entries.flatMap(({ compiled: { validation }, dispatch: { label } }) => {
      if (validation.passed) return [];
      const error = () =>
        new LocalgradError(
          `webgpu: ${name} cannot be compiled: WebGPU refuses its kernel ${label}: ${validation.fault}`,
        );
      return [{ validation, error }];
    });
    this.#accepted = pending.length === 0;
    return pending;
  }

  dispose(): void {
    for (const buffer of this.#parts.constants) this.#parts.gpu.destroy(buffer);
    if (this.#empty) this.#parts.gpu.destroy(this.#empty);
    for (const { dispatch } of this.#entries.splice(0)) this.#parts.pipelines.release(dispatch);
  }
}

function outOfMemory({ name, arenaBytes }: Plan, { fault }: Validation): LocalgradError {
  return new LocalgradError(
    `webgpu: ${name} needs ${arenaBytes} bytes for intermediate results, more than the device has free: ` +
      `${fault}; use a smaller batch`,
    { code: "tooLarge" },
  );
}
