/** The smallest complete backend, as `docs/adding-a-backend.md` describes it: plain arrays, and the reference's loops. */

import type { Backend, DeviceBuffer, Executable } from "../src/backends/backend.ts";
import { runKernel } from "../src/backends/reference/kernel.ts";
import { applyOp } from "../src/backends/reference/ops.ts";
import type { Location, Plan, Target } from "../src/compile/plan.ts";
import { hostArrays, type HostData, sizeOf } from "../src/trace/dtype.ts";
import type { ValueId } from "../src/trace/program.ts";

/** The limits of its plans. */
const toyTarget: Target = {
  name: "toy",
  precisions: ["f32"],
  alignment: 4,
  maxValueBytes: 2 ** 30,
  segmentBytes: Infinity,
  maxTotalBytes: 2 ** 30,
  workspace: () => 0,
  maxKernelBuffers: Infinity,
};

/** An array's memory. */
class ToyBuffer implements DeviceBuffer {
  readonly memory: Uint8Array<ArrayBuffer>;

  constructor(readonly bytes: number) {
    this.memory = new Uint8Array(bytes);
  }
}

/** A backend that keeps arrays as bytes and computes each step by the reference's loops. */
export class ToyBackend implements Backend {
  readonly name = "toy";
  readonly description = "plain arrays, one thread";
  readonly target = toyTarget;
  readonly #buffers = new Set<DeviceBuffer>();
  #arena = new Uint8Array(0);

  get liveBuffers(): number {
    return this.#buffers.size + (this.#arena.byteLength > 0 ? 1 : 0);
  }
  get liveBytes(): number {
    return [...this.#buffers].reduce((sum, { bytes }) => sum + bytes, this.#arena.byteLength);
  }

  allocate(bytes: number): DeviceBuffer {
    const buffer = new ToyBuffer(bytes);
    this.#buffers.add(buffer);
    return buffer;
  }
  free(buffer: DeviceBuffer): void {
    if (!this.#buffers.delete(buffer)) throw new Error("toy: this buffer was freed already");
  }
  write(buffer: DeviceBuffer, data: Uint8Array): void {
    memoryOf(buffer).set(data);
  }
  read(buffer: DeviceBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(memoryOf(buffer).slice(0, bytes));
  }

  compile(plan: Plan): Executable {
    if (plan.arenaBytes > this.#arena.byteLength) this.#arena = new Uint8Array(plan.arenaBytes);
    return {
      run: (inputs, outputs) => {
        const results = outputs.map((buffer, i) => buffer ?? inputs[plan.donors[i]]); // a donor is overwritten
        runPlan(plan, (location) => {
          switch (location.kind) {
            case "input":
              return memoryOf(inputs[location.index]);
            case "output":
              return memoryOf(results[location.index]);
            case "constant":
              return bytesIn(plan.constants[location.index].data);
            case "arena":
              return this.#arena.subarray(location.offset);
          }
        });
      },
      dispose: () => {}, // nothing belongs to one plan alone
    };
  }

  finish(): Promise<void> {
    return Promise.resolve(); // a run is over when it returns
  }
  close(): Promise<void> {
    this.#buffers.clear();
    this.#arena = new Uint8Array(0);
    return Promise.resolve();
  }
}

/** Runs the steps of a plan in order; `memoryAt` gives the memory from a location on. */
function runPlan({ steps, values, locations }: Plan, memoryAt: (location: Location) => Uint8Array): void {
  const elementsOf = (value: ValueId): HostData => {
    const location = locations[value];
    if (location === undefined) throw new Error(`toy: value ${value} has no place in the plan`);
    const { buffer, byteOffset } = memoryAt(location);
    return new hostArrays[values[value].dtype](buffer, byteOffset, sizeOf(values[value].shape));
  };
  for (const step of steps) {
    const opened = new Map<ValueId, Float64Array>();
    const open = (value: ValueId): Float64Array => {
      const data = opened.get(value) ?? Float64Array.from(elementsOf(value));
      opened.set(value, data);
      return data;
    };
    const store = (value: ValueId) => elementsOf(value).set(open(value));
    if (step.kind === "kernel") {
      const { kernel } = step;
      runKernel(kernel, open);
      for (const { output } of [...kernel.stores, ...kernel.reduce?.stores ?? []]) store(output);
    } else {
      const { op, attrs, inputs, output } = step.instruction;
      const operand = (value: ValueId) => ({ ...values[value], data: open(value) });
      applyOp(op, operand(output), inputs.map(operand), attrs);
      store(output);
    }
  }
}

function memoryOf(buffer: DeviceBuffer): Uint8Array<ArrayBuffer> {
  if (!(buffer instanceof ToyBuffer)) throw new Error("toy: this buffer belongs to another backend");
  return buffer.memory;
}

function bytesIn({ buffer, byteOffset, byteLength }: HostData): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
