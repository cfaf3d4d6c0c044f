import type { Plan, Step, Target } from "../../compile/plan.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { type DType, hostArrays, sizeOf } from "../../trace/dtype.ts";
import { fromBf16, toBf16 } from "../../trace/bf16.ts";
import { isCollectiveInstruction, type ValueId } from "../../trace/program.ts";
import type { Backend, DeviceBuffer, Executable, Opened, PlanLaunch } from "../backend.ts";
import { type Communicators, groupSizes } from "../communicator.ts";
import { Exchanges, type HostMemory } from "../exchanges.ts";
import { runKernel } from "./kernel.ts";
import { applyOp, type OpRules, opRules } from "./ops.ts";
import { referenceTarget } from "./target.ts";

/** Bytes of the arena per float64: those of the smallest element that programs compute. */
const SLOT = 2;

/** Elements as float64 whatever their dtype: it represents all others exactly. */
class ReferenceBuffer implements DeviceBuffer {
  readonly data: Float64Array;

  constructor(readonly bytes: number, public dtype: DType) {
    this.data = allocate(bytes / hostArrays[dtype].BYTES_PER_ELEMENT);
  }
}

/** Elements as another backend holds them. */
function bytesOfElements(elements: Float64Array, dtype: DType): Uint8Array<ArrayBuffer> {
  const array = new hostArrays[dtype](elements.length);
  array.set(dtype === "bf16" ? toBf16(elements) : elements);
  return new Uint8Array(array.buffer as ArrayBuffer);
}

/** The elements that another backend holds so. */
function elementsOfBytes(data: Uint8Array, dtype: DType): ArrayLike<number> {
  const host = new hostArrays[dtype](data.slice().buffer); // aligned
  return host instanceof Uint16Array ? fromBf16(host) : host;
}

function allocate(elements: number): Float64Array<ArrayBuffer> {
  try {
    return new Float64Array(elements);
  } catch (cause) {
    throw new LocalgradError(
      `reference: cannot allocate ${elements} elements (${
        elements * 8
      } bytes as float64); use a smaller batch`,
      { cause, code: "tooLarge" },
    );
  }
}

/**
 * Plain TypeScript in float64, one obvious loop per op: the oracle for every other backend. It reports the sizes that
 * elements have on other backends; the memory really used is two to four times that.
 */
export class ReferenceBackend implements Backend {
  readonly name = "reference";
  readonly description = "plain loops in float64, one thread";
  readonly target: Target;
  readonly #communicators: Communicators;
  readonly #buffers = new Set<ReferenceBuffer>();
  readonly #rules: OpRules;
  #arena = new Float64Array(0);

  /** `rules` are for tests that need a faulty backend. */
  constructor(rules: OpRules = opRules, communicators: Communicators = {}) {
    this.#rules = rules;
    this.#communicators = communicators;
    this.target = { ...referenceTarget, groups: groupSizes(communicators) };
  }

  get liveBuffers(): number {
    return this.#buffers.size + (this.#arena.length > 0 ? 1 : 0);
  }

  get liveBytes(): number {
    let bytes = this.#arena.length * SLOT;
    for (const buffer of this.#buffers) bytes += buffer.bytes;
    return bytes;
  }

  allocate(bytes: number, dtype: DType): DeviceBuffer {
    const buffer = new ReferenceBuffer(bytes, dtype);
    this.#buffers.add(buffer);
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    this.#buffers.delete(this.#own(buffer));
  }

  write(buffer: DeviceBuffer, data: Uint8Array): void {
    const { dtype, data: elements } = this.#own(buffer);
    elements.set(elementsOfBytes(data, dtype));
  }

  read(buffer: DeviceBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const { dtype, data } = this.#own(buffer);
    const elements = data.subarray(0, bytes / hostArrays[dtype].BYTES_PER_ELEMENT);
    return Promise.resolve(bytesOfElements(elements, dtype));
  }

  /** Sets a buffer's elements without rounding f32 to 32 bits, for comparisons in float64. */
  writeFloat64(buffer: DeviceBuffer, data: ArrayLike<number>): void {
    this.#own(buffer).data.set(data);
  }

  /** A buffer's elements without rounding f32 to 32 bits. */
  readFloat64(buffer: DeviceBuffer): Float64Array {
    return this.#own(buffer).data.slice();
  }

  compile(plan: Plan): Executable {
    if (plan.arenaBytes > this.#arena.length * SLOT) {
      this.#arena = allocate(Math.ceil(plan.arenaBytes / SLOT));
    }
    const constants = plan.constants.map(({ aval, data }) => {
      const buffer = new ReferenceBuffer(data.byteLength, aval.dtype);
      buffer.data.set(data instanceof Uint16Array ? fromBf16(data) : data);
      this.#buffers.add(buffer);
      return buffer;
    });
    const exchanges = new Exchanges(plan, this.#communicators, (bytes) => {
      const slot = new Uint8Array(bytes);
      return () => slot;
    });
    const launches: NonNullable<Executable["launches"]> = (inputs, outputs) =>
      this.#launches(
        plan,
        constants,
        exchanges,
        inputs.map((buffer) => this.#own(buffer)),
        outputs.map((buffer, i) => this.#own(buffer ?? at(inputs, at(plan.donors, i)))),
      );
    return {
      run: (inputs, outputs) => launches(inputs, outputs).forEach(({ issue }) => issue()),
      launches,
      dispose: () => {
        exchanges.dispose();
        constants.forEach((buffer) => this.#buffers.delete(buffer));
      },
    };
  }

  finish(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#buffers.clear();
    this.#arena = new Float64Array(0);
    return Promise.resolve();
  }

  #launches(
    plan: Plan,
    constants: readonly ReferenceBuffer[],
    exchanges: Exchanges,
    inputs: readonly ReferenceBuffer[],
    outputs: readonly ReferenceBuffer[],
  ): PlanLaunch[] {
    this.#arena.fill(NaN); // exposes a plan that reads elements it has not written
    const memory = (value: ValueId): Float64Array => {
      const location = plan.locations[value];
      if (location === undefined) throw new Error(`${plan.name}: value ${value} has no place in the plan`);
      const size = sizeOf(at(plan.values, value).shape);
      switch (location.kind) {
        case "input":
          return at(inputs, location.index).data.subarray(0, size);
        case "output":
          return at(outputs, location.index).data.subarray(0, size);
        case "constant":
          return at(constants, location.index).data.subarray(0, size);
        case "arena":
          return this.#arena.subarray(location.offset / SLOT, location.offset / SLOT + size);
      }
    };
    outputs.forEach((buffer, i) => buffer.dtype = at(plan.values, at(plan.outputs, i).value).dtype);
    const exchanged: HostMemory = {
      bytes: (value) => bytesOfElements(memory(value), at(plan.values, value).dtype),
      changed: (value, bytes) => memory(value).set(elementsOfBytes(bytes, at(plan.values, value).dtype)),
    };
    const last = plan.steps.length - 1;
    return plan.steps.map((step, position) => {
      const compute = this.#compute(plan, step, memory);
      const issue = () => {
        exchanges.stop(position, exchanged);
        compute();
        if (position === last) exchanges.finishRun();
      };
      return { step, code: step.kind === "kernel" ? "kernel" : step.instruction.op, issue };
    });
  }

  #compute(plan: Plan, step: Step, memory: (value: ValueId) => Float64Array): () => void {
    if (step.kind === "kernel") return () => runKernel(step.kernel, memory);
    if (isCollectiveInstruction(step.instruction)) return () => {};
    const { op, inputs, output, attrs } = step.instruction;
    const value = (id: ValueId) => ({ ...at(plan.values, id), data: memory(id) });
    return () => applyOp(op, value(output), inputs.map(value), attrs, this.#rules);
  }

  #own(buffer: DeviceBuffer): ReferenceBuffer {
    if (buffer instanceof ReferenceBuffer && this.#buffers.has(buffer)) return buffer;
    throw new Error("reference: this buffer was freed, or belongs to another backend");
  }
}

/** Opens the reference backend, which is always available. */
export function openReference(communicators?: Communicators): Promise<Opened> {
  return Promise.resolve({ backend: new ReferenceBackend(opRules, communicators) });
}
