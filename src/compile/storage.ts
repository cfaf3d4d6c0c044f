import { at } from "../base/at.ts";
import { bytesOf, isFloat, sizeOf } from "../trace/dtype.ts";
import { isFusable, isView } from "../trace/ops.ts";
import type { Instruction, Program, ValueId } from "../trace/program.ts";
import { MAX_NODES } from "./nodes.ts";

/**
 * A value that is broadcast over a larger space is computed for each of its elements if that takes at most this many
 * operations.
 */
const SPREAD_NODES = 1;
/** The same for scalars, which compilers move out of loops. */
const SCALAR_NODES = 4;
/** The number of a value's users that are told apart. */
const MAX_USERS = 4;
/** Memory below this fraction of a value's own does not matter. */
const SLIGHT = 1 / 8;

const NONE: readonly number[] = [];

/** The properties of a value while storage is decided. */
interface ValueState {
  readonly bytes: number;
  /** The position of the instruction that makes it; −1 for inputs. */
  maker: number;
  isStored: boolean;
  /** The value whose memory a stored value is in. */
  base: ValueId;
  /** The last instruction that reads it while stored, as far as decided; one past the end if it stays anyway. */
  lastRead: number;
  /** For a donated input, the instruction whose result is to be written there; otherwise one past the end. */
  overwritten: number;
  /** The stored values that computing it reads; of a stored value, its base. */
  leaves: readonly ValueId[];
  /** The nodes of its expression, counted as a tree. */
  nodes: number;
}

/** The values of a program that are stored in memory; the others are computed where they are used. */
export class Storage {
  readonly #program: Program;
  readonly #maxLeaves: number;
  readonly #states: readonly ValueState[];
  /** Bytes of the memory made up to each instruction. */
  readonly #made: number[] = [];

  /**
   * Decides which element-wise values are stored. Memory is needed by the operands and results of structured ops, by
   * results, and by values that are broadcast over a larger space, so as not to be computed for each element of it. Of
   * the rest:
   *
   * - A value that one kernel uses is computed there, unless that kernel runs so much later that keeping the operands
   *   live until then would take more memory than the value.
   * - A value that several kernels use is computed in each if that reads no more full-size operands than loading it
   *   would (a normalised x from x, a mask from a ReLU's result) and keeps no more memory live; otherwise it is stored
   *   (a gradient through a mask, which reads both).
   */
  constructor(program: Program, maxLeaves: number) {
    this.#program = program;
    this.#maxLeaves = maxLeaves;
    const required = requiredMemory(program);
    const end = program.instructions.length;
    this.#states = program.values.map((aval, value): ValueState => ({
      bytes: bytesOf(aval),
      maker: -1,
      isStored: required[value] === 1,
      base: value,
      lastRead: -1,
      overwritten: end,
      leaves: NONE,
      nodes: 0,
    }));
    program.instructions.forEach(({ output }, i) => this.#state(output).maker = i);
    this.#survey();
    const users = kernelsUsing(program, required);
    for (const instruction of program.instructions) {
      this.#decide(instruction, at(users, instruction.output));
    }
  }

  /** Tests whether a value is stored, in its own memory or in that of the value it is a view of. */
  has(value: ValueId): boolean {
    return this.#state(value).isStored;
  }

  /** Returns the value whose memory a stored value is in: itself, or the one it is a view of. */
  base(value: ValueId): ValueId {
    return this.#state(value).base;
  }

  /** Stores a value after all, for a kernel that cannot compute it. */
  store(value: ValueId): void {
    const state = this.#state(value);
    state.isStored = true;
    const maker = this.#program.instructions[state.maker];
    const operand = maker?.inputs[0];
    if (maker !== undefined && operand !== undefined && isView(maker.op)) {
      if (!this.has(operand)) this.store(operand);
      state.base = this.base(operand);
    }
    state.leaves = [state.base];
    state.nodes = 1;
  }

  /** Returns the number of stored values that computing a value reads. */
  leafCount(value: ValueId): number {
    return this.#state(value).leaves.length;
  }

  #state(value: ValueId): ValueState {
    const state = this.#states[value]; // at() is slower here, being shared by arrays of all kinds
    if (state === undefined) throw new RangeError(`no value %${value}`);
    return state;
  }

  /** Records the readers of the values that are certain to be stored, and the memory made up to each instruction. */
  #survey(): void {
    const { inputs, instructions, outputs } = this.#program;
    for (const { value } of inputs) {
      this.store(value);
      this.#state(value).lastRead = instructions.length;
    }
    for (const { value, donor } of outputs) {
      const { maker } = this.#state(value);
      if (donor !== undefined && maker >= 0) this.#state(at(inputs, donor).value).overwritten = maker;
    }
    let made = 0;
    instructions.forEach(({ op, attrs, inputs, output }, i) => {
      if (this.has(output)) {
        this.store(output);
        const state = this.#state(output);
        if (op === "constant" && attrs.values.length > 1) state.lastRead = instructions.length;
        else if (state.base === output) made += state.bytes;
        for (const input of inputs) {
          if (!this.has(input)) continue;
          const base = this.#state(this.base(input));
          base.lastRead = Math.max(base.lastRead, i);
        }
      }
      this.#made.push(made);
    });
    for (const { value } of outputs) this.#state(this.base(value)).lastRead = instructions.length;
  }

  #decide(instruction: Instruction, users: readonly number[]): void {
    const { op, output } = instruction;
    const inputs: readonly ValueId[] = instruction.inputs;
    if (!isFusable(op) && op !== "reduce") return;
    if (op === "reshape" && this.has(instruction.inputs[0])) return this.store(output);
    const leaves = this.#limit(inputs);
    if (this.has(output)) return;
    const state = this.#state(output);
    state.leaves = leaves;
    state.nodes = inputs.reduce((sum, input) => sum + this.#state(input).nodes, 1);

    const last = users.at(-1) ?? state.maker;
    const kept = this.#keptUntil(state.leaves, last, state.maker);
    const reads = state.leaves.reduce(
      (sum, leaf) => sum + Math.min(1, this.#state(leaf).bytes / state.bytes),
      0,
    );
    const isCheap = users.length <= 1 || reads <= 1 + 2 * SLIGHT;
    if (!isCheap || kept > state.bytes * (1 + SLIGHT)) return this.store(output);
    for (const leaf of state.leaves) {
      const read = this.#state(leaf);
      read.lastRead = Math.max(read.lastRead, last);
    }
  }

  /** Stores operands until what remains to be computed fits into one kernel; returns the leaves that it then reads. */
  #limit(inputs: readonly ValueId[]): readonly ValueId[] {
    for (;;) {
      const nodes = inputs.reduce((sum, input) => sum + this.#state(input).nodes, 0);
      const leaves = this.#union(inputs);
      if (nodes <= MAX_NODES && leaves.length <= this.#maxLeaves) return leaves;
      const [largest] = inputs.filter((input) => !this.has(input)).sort((a, b) =>
        this.leafCount(b) - this.leafCount(a) || this.#state(b).nodes - this.#state(a).nodes
      );
      if (largest === undefined) return leaves;
      this.store(largest);
    }
  }

  /** The leaves of several values together. */
  #union(values: readonly ValueId[]): readonly ValueId[] {
    const first = values[0];
    if (first === undefined) return [];
    const { leaves } = this.#state(first);
    const others: ValueId[] = [];
    for (const value of values) {
      if (value === first) continue;
      for (const leaf of this.#state(value).leaves) {
        if (!leaves.includes(leaf) && !others.includes(leaf)) others.push(leaf);
      }
    }
    return others.length === 0 ? leaves : [...leaves, ...others];
  }

  /** Bytes of the leaves that would otherwise be free before instruction `last`, if that matters since `from`. */
  #keptUntil(leaves: readonly ValueId[], last: number, from: number): number {
    let kept = 0;
    for (const leaf of leaves) {
      const { overwritten, lastRead, bytes } = this.#state(leaf);
      if (last > overwritten) return Infinity; // its memory would not be free for its successor
      if (lastRead < last) kept += bytes;
    }
    // If next to nothing is made meanwhile, the step at `from` would have kept as much live.
    const made = at(this.#made, Math.max(from, last - 1)) - at(this.#made, from);
    return made <= kept * SLIGHT ** 2 ? 0 : kept;
  }
}

/** Marks the values that must have memory with 1. */
function requiredMemory(program: Program): Uint8Array {
  const { values, inputs, instructions, outputs } = program;
  const required = new Uint8Array(values.length);
  for (const { value } of [...inputs, ...outputs]) required[value] = 1;

  // Operations for one element of each value, once the required values above are loaded.
  const work = new Array<number>(values.length).fill(0);
  const fromMemory = new Uint8Array(values.length);
  for (const { value } of inputs) fromMemory[value] = 1;
  for (const { op, attrs, inputs, output } of instructions) {
    if (!isFusable(op) || (op === "constant" && attrs.values.length > 1)) {
      required[output] = fromMemory[output] = 1;
      continue;
    }
    const readsMemory = inputs.some((input) => fromMemory[input] === 1);
    if (readsMemory) fromMemory[output] = 1;
    const moves = op === "broadcast" || op === "reshape" || op === "transpose" || op === "slice";
    // A conversion between floats does not count, so that bf16, which is computed in f32, fuses as f32 does.
    const isFree = moves || op === "cast" && [output, inputs[0]].every((x) => isFloat(at(values, x).dtype));
    let operations = readsMemory && !isFree ? 1 : 0;
    for (const input of inputs) operations += at(work, input);
    work[output] = operations;
  }

  for (let i = instructions.length - 1; i >= 0; i--) {
    const { op, inputs, output } = at(instructions, i);
    const readsMemory = op === "reshape"
      ? required[output] === 1
      : op === "randomBits" || (op !== "reduce" && !isFusable(op));
    if (readsMemory) { for (const input of inputs) required[input] = 1; }
    if (op === "broadcast") {
      const most = sizeOf(at(values, inputs[0]).shape) > 1 ? SPREAD_NODES : SCALAR_NODES;
      if (at(work, inputs[0]) > most) required[inputs[0]] = 1;
    }
  }
  return required;
}

/** Returns, for each value, up to {@link MAX_USERS} of the kernels and ops that it ends up in, by instruction, ascending. */
function kernelsUsing(
  { values, instructions }: Program,
  required: Uint8Array,
): readonly (readonly number[])[] {
  const users = new Array<readonly number[]>(values.length).fill(NONE);
  for (let i = instructions.length - 1; i >= 0; i--) {
    const { inputs, output } = at(instructions, i);
    const own = required[output] === 1 ? [i] : at(users, output);
    for (const input of inputs) {
      const known = at(users, input);
      users[input] = known.length === 0 ? own : joined(known, own);
    }
  }
  return users;
}

function joined(known: readonly number[], own: readonly number[]): readonly number[] {
  const others = own.filter((user) => !known.includes(user));
  if (others.length === 0) return known;
  const all = [...known, ...others].sort((a, b) => a - b);
  return all.length > MAX_USERS ? [...all.slice(0, MAX_USERS - 1), ...all.slice(-1)] : all;
}
