import { at } from "../base/at.ts";
import { type Aval, bytesOf, formatAval, type Shape, sizeOf, stridesOf } from "../trace/dtype.ts";
import { isView } from "../trace/ops.ts";
import { isCollectiveInstruction, type Program, type ValueId } from "../trace/program.ts";
import type { Node } from "./kernel.ts";
import { overwritesOperand } from "./memory.ts";
import type { Location, Plan, Step, Target } from "./plan.ts";
import { verifyKernel } from "./verify_kernel.ts";
import { type Use, verifySchedule } from "./verify_schedule.ts";

/**
 * Checks a plan by running its steps on a model of memory that knows the value in each byte: every value that is read
 * is still intact, nothing is written to a forbidden place, and at the end every result is in its place. `program` is
 * the program that the plan was made from; it determines which values are views.
 */
export function verifyPlan(plan: Plan, target: Target, program: Program): void {
  new Checker(plan, target, program).run();
}

class Checker {
  readonly #plan: Plan;
  readonly #target: Target;
  readonly #program: Program;
  /** The value whose memory each view shares. */
  readonly #bases = new Map<ValueId, ValueId>();
  readonly #memories = new Map<string, Memory>();
  readonly #written = new Set<ValueId>();

  constructor(plan: Plan, target: Target, program: Program) {
    this.#plan = plan;
    this.#target = target;
    this.#program = program;
    for (const { op, inputs, output } of program.instructions) {
      const [operand] = inputs;
      const shares = operand !== undefined && isView(op) && plan.locations[output] !== undefined &&
        plan.locations[operand] !== undefined;
      if (shares) this.#bases.set(output, this.#base(operand));
    }
  }

  run(): void {
    const { inputs, outputs, constants, locations, donors, schedule } = this.#plan;
    inputs.forEach(({ value }) => this.#memory(this.#location(value)).write(...this.#range(value), value));
    locations.forEach((location, value) => {
      if (location?.kind !== "constant" || this.#base(value) !== value) return;
      if (constants[location.index] === undefined) {
        this.#fail(`%${value} is in a constant that does not exist`);
      }
      this.#memory(location).write(...this.#range(value), value);
    });
    this.#plan.steps.forEach((step, s) => this.#step(step, `step ${s}`));
    if (schedule !== undefined) {
      verifySchedule(schedule, this.#plan.steps.map((step) => this.#uses(step)), (why) => this.#fail(why));
    }
    this.#exchanges();
    outputs.forEach(({ value, name }, i) => {
      const location = this.#location(value);
      const isInPlace = location.kind === "input" && location.index === donors[i];
      if (!isInPlace && !(location.kind === "output" && location.index === i)) {
        this.#fail(`result ${name} is in ${format(location)}`);
      }
      if (sizeOf(this.#aval(value).shape) > 0) this.#read(value, `result ${name}`);
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

  /** The memory that a step reads and writes. */
  #uses(step: Step): Use[] {
    const use = (isWritten: boolean) => (value: ValueId): Use => (
      { key: this.#key(this.#location(value)), range: this.#range(value), isWritten }
    );
    const [reads, writes] = step.kind === "op"
      ? [step.instruction.inputs, [step.instruction.output]]
      : [step.kernel.inputs, storesOf(step)];
    const uses = [...reads.map(use(false)), ...writes.map(use(true))];
    if (step.workspace === undefined) return uses;
    const { offset, bytes } = step.workspace;
    return [...uses, { key: "arena", range: [offset, offset + bytes], isWritten: true }];
  }

  /** Checks that every exchange with other processes is there once, in program order. */
  #exchanges(): void {
    const expected = this.#program.instructions.filter(isCollectiveInstruction);
    const found = this.#plan.steps.flatMap((step) =>
      step.kind === "op" && isCollectiveInstruction(step.instruction) ? [step.instruction] : []
    );
    const wrong = expected.findIndex((instruction, i) => found[i]?.output !== instruction.output);
    if (wrong >= 0) this.#fail(`${at(expected, wrong).op} ${wrong} is not where the program has it`);
    if (found.length > expected.length) this.#fail(`${at(found, expected.length).op} is there twice`);
  }

  #read(value: ValueId, where: string): void {
    const [start, end] = this.#range(value);
    if (start === end) return; // no elements, nothing to read
    const found = this.#memory(this.#location(value)).read(start, end);
    if (found !== this.#base(value)) {
      this.#fail(
        `${where} reads %${value} ${formatAval(this.#aval(value))}, and its memory holds ${
          found === undefined ? "something else" : `%${found}`
        }`,
      );
    }
  }

  #mayWrite(value: ValueId, where: string): void {
    const location = this.#location(value);
    if (location.kind === "arena") return this.#inArena(this.#range(value), `${where}: %${value}`);
    if (location.kind !== "output") {
      return this.#fail(`${where}: %${value} is written to ${format(location)}`);
    }
    const { value: result } = at(this.#plan.outputs, location.index);
    if (this.#base(result) !== value) {
      this.#fail(`${where}: %${value} is written to the memory of %${result}`);
    }
    const donor = at(this.#plan.donors, location.index);
    if (this.#plan.inputs[donor]?.donated === false) {
      this.#fail(`${where}: input ${donor} is written over, but was not donated`);
    }
  }

  #inArena([start, end]: Range, what: string): void {
    const { alignment, segmentBytes } = this.#target;
    if (start % alignment !== 0) this.#fail(`${what} starts at ${start}, not a multiple of ${alignment}`);
    if (start < 0 || end > this.#plan.arenaBytes) this.#fail(`${what} is outside the arena`);
    if (end > start && Math.floor(start / segmentBytes) !== Math.floor((end - 1) / segmentBytes)) {
      this.#fail(`${what} crosses from one segment of the arena to the next`);
    }
  }

  /** Tests whether a step computes each element of `output` from that element of `input`, which it reads nowhere else. */
  #inPlace(step: Step, input: ValueId, output: ValueId): boolean {
    const [a, b] = [this.#range(input), this.#range(output)];
    if (a[0] !== b[0] || a[1] !== b[1]) return false;
    if (step.kind === "op") return overwritesOperand(step.instruction.op);
    const { kernel } = step;
    const index = kernel.inputs.indexOf(input);
    const { axes = [], epilogue = [] } = kernel.reduce ?? {};
    const outer = kernel.space.filter((_, axis) => !axes.includes(axis));
    return kernel.stores.some((store) => store.output === output)
      ? readsOwnOnly(kernel.nodes, index, kernel.space) && !readsOf(epilogue, index)
      : readsOwnOnly(epilogue, index, outer) && !readsOf(kernel.nodes, index);
  }

  #aval(value: ValueId): Aval {
    return at(this.#plan.values, value);
  }

  /** The value whose memory a value is in. */
  #base(value: ValueId): ValueId {
    return this.#bases.get(value) ?? value;
  }

  #location(value: ValueId): Location {
    return this.#plan.locations[value] ?? this.#fail(`%${value} has no location`);
  }

  #range(value: ValueId): Range {
    const location = this.#location(value);
    const start = location.kind === "arena" ? location.offset : 0;
    return [start, start + bytesOf(this.#aval(value))];
  }

  /** Names the memory that a location is in; a result with a donor is in the donor's. */
  #key(location: Location): string {
    if (location.kind === "arena") return "arena";
    const donor = location.kind === "output" ? at(this.#plan.donors, location.index) : -1;
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

/** Tests whether each point of a space reads only its own element of an input. */
function readsOwnOnly(nodes: readonly Node[], input: number, space: Shape): boolean {
  const strides = stridesOf(space);
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

/** The value in each byte, as ranges in ascending order. */
class Memory {
  readonly #ranges: { readonly start: number; readonly end: number; readonly value: ValueId | undefined }[] =
    [];

  /** Records the value that is now in a range; every range that it overlaps is removed. */
  write(start: number, end: number, value: ValueId | undefined): void {
    if (start === end) return;
    let from = this.#firstFrom(start);
    while (from > 0 && at(this.#ranges, from - 1).end > start) from--;
    let to = from;
    while (to < this.#ranges.length && at(this.#ranges, to).start < end) to++;
    this.#ranges.splice(from, to - from, { start, end, value });
  }

  /** Returns the value that is in exactly this range. */
  read(start: number, end: number): ValueId | undefined {
    const range = this.#ranges[this.#firstFrom(start)];
    return range?.start === start && range.end === end ? range.value : undefined;
  }

  /** Returns the index of the first range that starts at or after a byte. */
  #firstFrom(start: number): number {
    let [low, high] = [0, this.#ranges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (at(this.#ranges, middle).start < start) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
