import { bytesOf, sizeOf } from "../trace/dtype.ts";
import { isFusable, isView } from "../trace/ops.ts";
import type { Instruction, Program, ValueId } from "../trace/program.ts";
import { MAX_NODES } from "./nodes.ts";

/** What is spread over a larger space is computed for each element of that up to so many operations. */
const SPREAD_NODES = 1;
/** The same for scalars, which compilers move out of loops. */
const SCALAR_NODES = 4;
/** How many of a value's readers are told apart. */
const MAX_ROOTS = 4;
/** Memory below this part of a value's own is not worth a decision. */
const SLIGHT = 1 / 8;

/** Which values of a program get memory; the others are computed where they are used. */
export class Storage {
  readonly #program: Program;
  readonly #maxLeaves: number;
  /** Bytes of each value. */
  readonly #bytes: Float64Array;
  /** The instruction that makes each value; −1 for inputs. */
  readonly #makers: Int32Array;
  readonly #stored: Uint8Array;
  /** The value whose memory each stored value is in. */
  readonly #bases: Int32Array;
  /** The last instruction to read each stored value, as far as decided; Infinity where it stays anyway. */
  readonly #lastRead: Float64Array;
  /** For donated inputs, the instruction whose result is to be written there. */
  readonly #overwritten: Float64Array;
  /** Bytes of the memory made up to each instruction. */
  readonly #made: Float64Array;
  /** Stored values that computing each value reads; of a stored value, its base. */
  readonly #leaves: (readonly ValueId[])[];
  /** Nodes of each value's expression, counted as a tree. */
  readonly #nodes: Float64Array;

  /**
   * Decides which element-wise values are kept. Memory is needed by what a structured op reads or makes, by results,
   * and by values that are spread over a larger space, so as not to be computed once for each element of it. Of the
   * rest:
   *
   * - A value that one kernel uses is computed there, unless that kernel runs so much later that its operands would
   *   have to be held for longer than it would itself.
   * - A value that several kernels use is computed in each if that reads no more full-size operands than loading it
   *   would (a normalised x from x, a mask from a ReLU's result) and holds no more memory; otherwise it is kept (a
   *   gradient through a mask, which reads both).
   */
  constructor(program: Program, maxLeaves: number) {
    this.#program = program;
    this.#maxLeaves = maxLeaves;
    const count = program.values.length;
    this.#bytes = Float64Array.from(program.values, bytesOf);
    this.#makers = new Int32Array(count).fill(-1);
    program.instructions.forEach(({ output }, i) => this.#makers[output] = i);
    this.#stored = requiredMemory(program);
    this.#bases = Int32Array.from({ length: count }, (_, value) => value);
    this.#lastRead = new Float64Array(count).fill(-1);
    this.#overwritten = new Float64Array(count).fill(Infinity);
    this.#made = new Float64Array(program.instructions.length);
    this.#leaves = new Array(count);
    this.#nodes = new Float64Array(count);
    this.#survey();
    const users = kernelsUsing(program, this.#stored);
    for (const instruction of program.instructions) this.#decide(instruction, users[instruction.output]);
  }

  /** Whether a value has memory, its own or what it renames. */
  has(value: ValueId): boolean {
    return this.#stored[value] === 1;
  }

  /** The value whose memory a stored value is in: itself, or what it is a view of. */
  base(value: ValueId): ValueId {
    return this.#bases[value];
  }

  /** Gives a value memory after all, for a kernel that cannot compute it in place. */
  store(value: ValueId): void {
    this.#stored[value] = 1;
    const maker = this.#program.instructions[this.#makers[value]];
    const operand = maker?.inputs[0];
    if (operand !== undefined && isView(maker.op)) {
      if (!this.has(operand)) this.store(operand);
      this.#bases[value] = this.#bases[operand];
    }
    this.#leaves[value] = [this.#bases[value]];
    this.#nodes[value] = 1;
  }

  /** How many stored values computing a value reads. */
  leafCount(value: ValueId): number {
    return this.#leaves[value].length;
  }

  /** Notes who reads what is certain to be stored, and how much of it is made when. */
  #survey(): void {
    const { inputs, instructions, outputs } = this.#program;
    for (const { value } of inputs) {
      this.store(value);
      this.#lastRead[value] = Infinity;
    }
    for (const { value, donor } of outputs) {
      if (donor !== undefined && this.#makers[value] >= 0) {
        this.#overwritten[inputs[donor].value] = this.#makers[value];
      }
    }
    let made = 0;
    instructions.forEach(({ op, attrs, inputs, output }, i) => {
      if (this.has(output)) {
        this.store(output);
        if (op === "constant" && attrs.values.length > 1) this.#lastRead[output] = Infinity;
        else if (this.#bases[output] === output) made += this.#bytes[output];
        for (const input of inputs) {
          if (!this.has(input)) continue;
          const base = this.#bases[input];
          this.#lastRead[base] = Math.max(this.#lastRead[base], i);
        }
      }
      this.#made[i] = made;
    });
    for (const { value } of outputs) this.#lastRead[this.#bases[value]] = Infinity;
  }

  #decide({ op, inputs, output }: Instruction, users: readonly number[]): void {
    if (!isFusable(op) && op !== "reduce") return;
    if (op === "reshape" && this.has(inputs[0])) return this.store(output);
    this.#limit(inputs);
    if (this.has(output)) return;
    const leaves = this.#union(inputs);
    this.#leaves[output] = leaves;
    this.#nodes[output] = 1 + sumOf(inputs, this.#nodes);

    const last = users.length > 0 ? users[users.length - 1] : this.#makers[output];
    const bytes = this.#bytes[output];
    const held = this.#heldUntil(leaves, last, this.#makers[output]);
    const reads = leaves.reduce((sum, leaf) => sum + Math.min(1, this.#bytes[leaf] / bytes), 0);
    const isCheap = users.length <= 1 || reads <= 1 + 2 * SLIGHT;
    if (!isCheap || held > bytes * (1 + SLIGHT)) return this.store(output);
    for (const leaf of leaves) this.#lastRead[leaf] = Math.max(this.#lastRead[leaf], last);
  }

  /** Stores operands until what remains to be computed fits one kernel. */
  #limit(inputs: readonly ValueId[]): void {
    for (;;) {
      const nodes = sumOf(inputs, this.#nodes);
      if (nodes <= MAX_NODES && this.#union(inputs).length <= this.#maxLeaves) return;
      const computed = inputs.filter((input) => !this.has(input));
      if (computed.length === 0) return;
      const most = (a: ValueId, b: ValueId) =>
        this.#leaves[b].length - this.#leaves[a].length || this.#nodes[b] - this.#nodes[a];
      this.store(computed.sort(most)[0]);
    }
  }

  #union(inputs: readonly ValueId[]): readonly ValueId[] {
    if (inputs.length === 0) return [];
    const leaves = this.#leaves[inputs[0]];
    if (inputs.length === 1) return leaves;
    const all = new Set(leaves);
    for (const input of inputs) for (const leaf of this.#leaves[input]) all.add(leaf);
    return all.size === leaves.length ? leaves : [...all];
  }

  /** Bytes of the leaves that would otherwise be free before instruction `last`, if that matters since `from`. */
  #heldUntil(leaves: readonly ValueId[], last: number, from: number): number {
    let held = 0;
    for (const leaf of leaves) {
      if (last > this.#overwritten[leaf]) return Infinity; // its memory would not be free to take its successor
      if (this.#lastRead[leaf] < last) held += this.#bytes[leaf];
    }
    // Where next to nothing is made meanwhile, the step at `from` would have held as much.
    const made = this.#made[Math.max(from, last - 1)] - this.#made[from];
    return made <= held * SLIGHT ** 2 ? 0 : held;
  }
}

/** What must have memory, by value. */
function requiredMemory(program: Program): Uint8Array {
  const { values, inputs, instructions, outputs } = program;
  const required = new Uint8Array(values.length);
  for (const { value } of [...inputs, ...outputs]) required[value] = 1;

  // Operations needed for one element of each value, once what is required above is loaded.
  const work = new Float64Array(values.length);
  const fromMemory = new Uint8Array(values.length);
  for (const { value } of inputs) fromMemory[value] = 1;
  for (const { op, attrs, inputs, output } of instructions) {
    if (!isFusable(op) || (op === "constant" && attrs.values.length > 1)) {
      required[output] = fromMemory[output] = 1;
      continue;
    }
    fromMemory[output] = inputs.some((input) => fromMemory[input] === 1) ? 1 : 0;
    const moves = op === "broadcast" || op === "reshape" || op === "transpose" || op === "slice";
    work[output] = sumOf(inputs, work) +
      (fromMemory[output] === 1 && !moves ? 1 : 0);
  }

  for (let i = instructions.length - 1; i >= 0; i--) {
    const { op, inputs, output } = instructions[i];
    const readsMemory = op === "reshape"
      ? required[output] === 1
      : op === "randomBits" || (op !== "reduce" && !isFusable(op));
    if (readsMemory) { for (const input of inputs) required[input] = 1; }
    if (op === "broadcast") {
      const spread = sizeOf(values[inputs[0]].shape) > 1 ? SPREAD_NODES : SCALAR_NODES;
      if (work[inputs[0]] > spread) required[inputs[0]] = 1;
    }
  }
  return required;
}

/** For each value, up to {@link MAX_ROOTS} of the kernels and ops that it ends up in, by instruction, ascending. */
function kernelsUsing({ values, instructions }: Program, required: Uint8Array): (readonly number[])[] {
  const users = new Array<readonly number[]>(values.length).fill([]);
  for (let i = instructions.length - 1; i >= 0; i--) {
    const { inputs, output } = instructions[i];
    const own = required[output] === 1 ? [i] : users[output];
    for (const input of inputs) {
      const known = users[input];
      if (known.length === 0) users[input] = own;
      else if (own.some((user) => !known.includes(user))) {
        const all = [...new Set([...known, ...own])].sort((a, b) => a - b);
        users[input] = all.length > MAX_ROOTS ? [...all.slice(0, MAX_ROOTS - 1), all.at(-1)!] : all;
      }
    }
  }
  return users;
}

/** Sums numbers that are listed by value, such as nodes, over some values. */
function sumOf(values: readonly number[], of: ArrayLike<number>): number {
  return values.reduce((sum, value) => sum + of[value], 0);
}
