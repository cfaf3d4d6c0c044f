import { bytesOf, formatAval, type Shape, sizeOf } from "../trace/dtype.ts";
import { isView } from "../trace/ops.ts";
import type { Program, ValueId } from "../trace/program.ts";
import type { Node } from "./kernel.ts";
import type { Location, Plan, Step, Target } from "./plan.ts";
import { verifyKernel } from "./verify_kernel.ts";

/**
 * Checks a plan by going through its steps with a model of memory that knows which value each byte holds: everything
 * read is still what was written, nothing is written where it must not be, and at the end every result is in its
 * place. `program` is what the plan was lowered from: it says which values are views of which.
 */
export function verifyPlan(plan: Plan, target: Target, program: Program): void {
  new Checker(plan, target, program).run();
}

class Checker {
  readonly #plan: Plan;
  readonly #target: Target;
  readonly #bases: ValueId[];
  readonly #memories = new Map<string, Memory>();
  readonly #written = new Set<ValueId>();

  constructor(plan: Plan, target: Target, program: Program) {
    this.#plan = plan;
    this.#target = target;
    this.#bases = plan.values.map((_, value) => value);
    for (const { op, inputs, output } of program.instructions) {
      const [operand] = inputs;
      const shares = operand !== undefined && isView(op) && plan.locations[output] !== undefined &&
        plan.locations[operand] !== undefined;
      if (shares) this.#bases[output] = this.#bases[operand];
    }
  }

  run(): void {
    const { inputs, outputs, constants, locations, donors } = this.#plan;
    inputs.forEach(({ value }) => this.#memory(this.#location(value)).write(...this.#range(value), value));
    locations.forEach((location, value) => {
      if (location?.kind !== "constant" || this.#bases[value] !== value) return;
      if (constants[location.index] === undefined) this.#fail(`%${value} is in a constant that is not there`);
      this.#memory(location).write(...this.#range(value), value);
    });
    this.#plan.steps.forEach((step, s) => this.#step(step, `step ${s}`));
    outputs.forEach(({ value, name }, i) => {
      const location = this.#location(value);
      const inPlace = location.kind === "input" && location.index === donors[i];
      if (!inPlace && !(location.kind === "output" && location.index === i)) {
        this.#fail(`result ${name} is in ${format(location)}`);
      }
      if (sizeOf(this.#plan.values[value].shape) > 0) this.#read(value, `result ${name}`);
    });
  }

  #step(step: Step, where: string): void {
    const { values } = this.#plan;
    const [reads, writes] = step.kind === "op"
      ? [step.instruction.inputs, [step.instruction.output]]
      : [step.kernel.inputs, storesOf(step)];
    if (step.kind === "kernel") {
      try {
        verifyKernel(step.kernel, values, this.#target.maxKernelBuffers);
      } catch (error) {
        this.#fail(`${where}: ${(error as Error).message}`);
      }
    }
    for (const value of reads) this.#read(value, where);
    const ranges = writes.map((value) => ({
      value,
      key: this.#key(this.#location(value)),
      range: this.#range(value),
    }));
    ranges.forEach((a, i) => {
      this.#mayWrite(a.value, where);
      for (const b of ranges.slice(0, i)) {
        if (a.key === b.key && overlap(a.range, b.range)) {
          this.#fail(`${where}: %${a.value} and %${b.value} are both written to the same memory`);
        }
      }
      for (const input of reads) {
        const same = a.key === this.#key(this.#location(input));
        if (same && overlap(a.range, this.#range(input)) && !this.#inPlace(step, input, a.value)) {
          this.#fail(`${where}: %${a.value} is written over %${input} while that is still read`);
        }
      }
    });
    if (step.workspace !== undefined) {
      const { offset, bytes } = step.workspace;
      const range: Range = [offset, offset + bytes];
      this.#inArena(range, `${where}: workspace`);
      for (const value of [...reads, ...writes]) {
        if (this.#location(value).kind === "arena" && overlap(range, this.#range(value))) {
          this.#fail(`${where}: workspace and %${value} share memory`);
        }
      }
      this.#memory({ kind: "arena", offset }).write(...range, undefined);
    }
    for (const value of writes) {
      if (this.#written.has(value)) this.#fail(`${where}: %${value} is written a second time`);
      this.#written.add(value);
      this.#memory(this.#location(value)).write(...this.#range(value), value);
    }
  }

  #read(value: ValueId, where: string): void {
    const [start, end] = this.#range(value);
    if (start === end) return; // no elements, nothing to read
    const found = this.#memory(this.#location(value)).at(start, end);
    if (found !== this.#bases[value]) {
      this.#fail(
        `${where} reads %${value} ${formatAval(this.#plan.values[value])}, and its memory holds ${
          found === undefined ? "something else" : `%${found}`
        }`,
      );
    }
  }

  #mayWrite(value: ValueId, where: string): void {
    const location = this.#location(value);
    if (location.kind === "arena") return this.#inArena(this.#range(value), `${where}: %${value}`);
    if (location.kind !== "output") this.#fail(`${where}: %${value} is written to ${format(location)}`);
    const index = (location as { index: number }).index;
    const donor = this.#plan.donors[index];
    const result = this.#plan.outputs[index].value;
    if (this.#bases[result] !== value) {
      this.#fail(`${where}: %${value} is written to the memory of %${result}`);
    }
    if (donor >= 0 && !this.#plan.inputs[donor].donated) {
      this.#fail(`${where}: input ${donor} is written over, but was not donated`);
    }
  }

  #inArena([start, end]: Range, what: string): void {
    const { alignment, segmentBytes } = this.#target;
    if (start % alignment !== 0) this.#fail(`${what} starts at ${start}, not a multiple of ${alignment}`);
    if (start < 0 || end > this.#plan.arenaBytes) this.#fail(`${what} is outside of the arena`);
    if (end > start && Math.floor(start / segmentBytes) !== Math.floor((end - 1) / segmentBytes)) {
      this.#fail(`${what} crosses from one segment of the arena to the next`);
    }
  }

  /** Whether a step makes each element of `output` from that element of `input`, which it reads nowhere else. */
  #inPlace(step: Step, input: ValueId, output: ValueId): boolean {
    if (step.kind !== "kernel") return false;
    const [a, b] = [this.#range(input), this.#range(output)];
    const { kernel } = step;
    if (a[0] !== b[0] || a[1] !== b[1]) return false;
    const index = kernel.inputs.indexOf(input);
    const { axes = [], epilogue = [] } = kernel.reduce ?? {};
    const outer = kernel.space.filter((_, axis) => !axes.includes(axis));
    return kernel.stores.some((store) => store.output === output)
      ? readsOwnOnly(kernel.nodes, index, kernel.space) && !readsOf(epilogue, index)
      : readsOwnOnly(epilogue, index, outer) && !readsOf(kernel.nodes, index);
  }

  #location(value: ValueId): Location {
    return this.#plan.locations[value] ?? this.#fail(`%${value} has no place`);
  }

  #range(value: ValueId): Range {
    const location = this.#location(value);
    const start = location.kind === "arena" ? location.offset : 0;
    return [start, start + bytesOf(this.#plan.values[value])];
  }

  /** Which memory a location is in; a result with a donor is in the donor's. */
  #key(location: Location): string {
    if (location.kind === "arena") return "arena";
    const donor = location.kind === "output" ? this.#plan.donors[location.index] : -1;
    return donor >= 0 ? `input ${donor}` : `${location.kind} ${location.index}`;
  }

  #memory(location: Location): Memory {
    const key = this.#key(location);
    let memory = this.#memories.get(key);
    if (memory === undefined) this.#memories.set(key, memory = new Memory());
    return memory;
  }

  #fail(why: string): never {
    throw new Error(`${this.#plan.name} is not a sound plan: ${why}`);
  }
}

/** Whether no point reads another point's element of an input, over a space. */
function readsOwnOnly(nodes: readonly Node[], input: number, space: Shape): boolean {
  const strides: number[] = [];
  space.reduceRight((stride, extent) => (strides.unshift(stride), stride * extent), 1);
  return nodes.every((node) => {
    if (node.kind === "randomBits") return node.key !== input;
    return node.kind !== "load" || node.input !== input || (node.view.offset === 0 &&
      node.view.strides.every((stride, axis) => space[axis] === 1 || stride === strides[axis]));
  });
}

function readsOf(nodes: readonly Node[], input: number): boolean {
  return nodes.some((node) =>
    node.kind === "load" ? node.input === input : node.kind === "randomBits" && node.key === input
  );
}

type Range = [start: number, end: number];

function overlap(a: Range, b: Range): boolean {
  return a[0] < b[1] && b[0] < a[1];
}

function storesOf(step: Extract<Step, { kind: "kernel" }>): ValueId[] {
  return [...step.kernel.stores, ...step.kernel.reduce?.stores ?? []].map(({ output }) => output);
}

function format(location: Location): string {
  return location.kind === "arena" ? "the arena" : `${location.kind} ${location.index}`;
}

/** Which value each byte holds, as ranges in ascending order. */
class Memory {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #values: (ValueId | undefined)[] = [];

  /** Notes that a range now holds a value; whatever it touches holds nothing any more. */
  write(start: number, end: number, value: ValueId | undefined): void {
    if (start === end) return;
    let from = this.#after(start);
    while (from > 0 && this.#ends[from - 1] > start) from--;
    let to = from;
    while (to < this.#starts.length && this.#starts[to] < end) to++;
    this.#starts.splice(from, to - from, start);
    this.#ends.splice(from, to - from, end);
    this.#values.splice(from, to - from, value);
  }

  /** The value that exactly this range holds. */
  at(start: number, end: number): ValueId | undefined {
    const i = this.#after(start);
    return this.#starts[i] === start && this.#ends[i] === end ? this.#values[i] : undefined;
  }

  /** The first range that starts at or after a byte. */
  #after(start: number): number {
    let [low, high] = [0, this.#starts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle] < start) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
