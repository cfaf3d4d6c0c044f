import type { Plan } from "../../compile/plan.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { DeviceBuffer, Executable, PlanLaunch } from "../backend.ts";
import type { Communicators } from "../communicator.ts";
import { placeOf } from "../place.ts";
import { BufferUsage } from "./flags.ts";
import type { Arena } from "./arena.ts";
import { own, type WebGpuBuffer } from "./buffer.ts";
import type { Gpu } from "./gpu.ts";
import { type Dispatch, EMPTY_BYTES, type Range } from "./lower.ts";
import type { WorkOrder } from "./order.ts";
import type { Pipeline, Pipelines } from "./pipelines.ts";
import type { Readbacks } from "./readbacks.ts";
import { Staging } from "./staging.ts";
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
  readonly communicators: Communicators;
  readonly order: WorkOrder;
  /** Called once everything is freed. */
  readonly disposed: (executable: WebGpuExecutable) => void;
}

/** The buffers of a run. */
interface Bound {
  readonly inputs: readonly WebGpuBuffer[];
  readonly outputs: readonly WebGpuBuffer[];
}

interface Entry {
  readonly dispatch: Dispatch;
  /** The position of its step in the plan. */
  readonly position: number;
  readonly compiled: Pipeline;
  /** The bind group of the last run, and its buffers. */
  bound?: { readonly group: GPUBindGroup; readonly buffers: readonly GPUBuffer[] };
}

/** The dispatches of a plan: one compute pass and one submission per run, or per stretch between exchanges. */
export class WebGpuExecutable implements Executable {
  readonly #parts: Parts;
  readonly #entries: Entry[];
  readonly #staging: Staging;
  /** The buffer bound in place of values without elements, if there are any. */
  readonly #empty: GPUBuffer | undefined;
  /** True once WebGPU has accepted every kernel. */
  #accepted = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#staging = new Staging(parts.gpu, parts.plan, parts.communicators);
    const positions = new Map(parts.plan.steps.map((step, position) => [step, position]));
    this.#entries = parts.dispatches.map((dispatch) => ({
      dispatch,
      position: positions.get(dispatch.step) ?? 0,
      compiled: parts.pipelines.take(dispatch),
    }));
    if (parts.dispatches.some(({ ranges }) => ranges.some(({ kind }) => kind === "empty"))) {
      this.#empty = parts.gpu.create(EMPTY_BYTES, BufferUsage.STORAGE);
    }
    parts.gpu.check();
  }

  /** Bytes of host memory that its exchanges take. */
  get heldBytes(): number {
    return this.#staging.heldBytes;
  }

  run(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]): void {
    const { gpu, order, plan } = this.#parts;
    for (const donor of plan.donors) {
      if (donor >= 0 && inputs.some((buffer, i) => i !== donor && buffer === inputs[donor])) {
        throw new LocalgradError(
          `${plan.name}: the array passed as ${
            at(plan.inputs, donor).name
          } is donated and passed a second time; copy it first`,
        );
      }
    }
    const bound = this.#own(inputs, outputs);
    gpu.check();
    order.check();
    if (this.#staging.isNeeded) order.wait(() => this.#exchange(bound));
    else order.do(() => this.#run(bound));
  }

  /** Runs the plan with its exchanges. Results depend on all memory and kernels, which WebGPU has accepted by then. */
  async #exchange(bound: Bound): Promise<void> {
    const { gpu, arena, readbacks, plan } = this.#parts;
    readbacks.flush();
    const pending = [...this.#pending(), ...bound.inputs.flatMap((buffer) => buffer.pending)];
    for (const { validation, error } of pending) {
      await validation.done;
      if (validation.fault !== undefined) throw error();
    }
    await arena.settled();
    for (const validation of arena.grow(plan.arenaBytes)) {
      await validation.done;
      if (validation.fault !== undefined) throw outOfMemory(plan, validation);
    }
    for (const buffer of bound.outputs) buffer.pending = [];
    await this.#staging.run({
      submit: (from, to) => {
        const entries = this.#entries.filter(({ position }) => from <= position && position < to);
        if (entries.length > 0) this.#submit(bound, entries);
      },
      place: (step, value) => this.#binding(bound, { ...placeOf(plan, step, value), bytes: 0 }),
    });
    gpu.check();
  }

  #run(bound: Bound): void {
    const { gpu, arena, readbacks, plan } = this.#parts;
    readbacks.flush();
    const { inputs: operands, outputs: results } = bound;
    const pending = [...this.#pending(), ...operands.flatMap((buffer) => buffer.pending)];
    const refused = pending.find(({ validation }) => validation.fault !== undefined);
    if (refused !== undefined) throw refused.error();
    for (const validation of arena.grow(plan.arenaBytes)) {
      pending.push({ validation, error: () => outOfMemory(plan, validation) });
    }
    const open = pending.filter(({ validation }) => !validation.settled);
    if (open.length === 0) this.#submit(bound, this.#entries);
    else {
      // If a kernel or memory is refused, so is all work that uses it; those errors add nothing.
      const { validation } = validated(gpu.device, () => this.#submit(bound, this.#entries));
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
    if (this.#staging.isNeeded) {
      throw new LocalgradError(
        `webgpu: ${this.#parts.plan.name} exchanges data with other processes, and cannot be profiled launch by launch`,
      );
    }
    const bound = this.#own(inputs, outputs);
    return this.#entries.map((entry) => ({
      step: entry.dispatch.step,
      code: entry.dispatch.label,
      issue: () => this.#submit(bound, [entry]),
    }));
  }

  #own(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]): Bound {
    const operands = inputs.map(own);
    const results = outputs.map((buffer, i) =>
      buffer === undefined ? at(operands, at(this.#parts.plan.donors, i)) : own(buffer)
    );
    return { inputs: operands, outputs: results };
  }

  #binding(
    { inputs, outputs }: Bound,
    { kind, index, offset: start, bytes: size }: Range,
  ): Required<GPUBufferBinding> {
    const { arena, constants, plan } = this.#parts;
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
  }

  #submit(run: Bound, entries: readonly Entry[]): void {
    const { gpu } = this.#parts;
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    let current: Pipeline | undefined;
    for (const entry of entries) {
      const { dispatch, compiled } = entry;
      if (compiled !== current) pass.setPipeline(compiled.pipeline);
      current = compiled;
      const places = dispatch.ranges.map((range) => this.#binding(run, range));
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
    const { order } = this.#parts;
    if (this.#staging.isNeeded) order.wait(() => this.#staging.left());
    order.do(() => this.#free());
  }

  #free(): void {
    const { constants, gpu, pipelines, disposed } = this.#parts;
    this.#staging.free();
    for (const buffer of constants) gpu.destroy(buffer);
    if (this.#empty) gpu.destroy(this.#empty);
    for (const { dispatch } of this.#entries.splice(0)) pipelines.release(dispatch);
    disposed(this);
  }
}

function outOfMemory({ name, arenaBytes }: Plan, { fault }: Validation): LocalgradError {
  return new LocalgradError(
    `webgpu: ${name} needs ${arenaBytes} bytes for intermediate results, more than the device has free: ` +
      `${fault}; use a smaller batch`,
    { code: "tooLarge" },
  );
}
