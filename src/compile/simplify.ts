import type { Aval } from "../trace/dtype.ts";
import { isFusable, isView, type OpAttrs, type OpName } from "../trace/ops.ts";
import type { Instruction, Program, ValueId } from "../trace/program.ts";
import { shapeRules } from "../trace/shape_rules.ts";
import type { ShapeRule } from "../trace/shapes/rule.ts";
import { rewrite, type Simplified } from "./rewrite.ts";

/**
 * The same results from less work: rewritten by algebra ({@link rewrite}), common subexpressions computed once, and
 * nothing that no result depends on. `stopGradient` is gone afterwards. Program order is kept.
 *
 * Element-wise work is always shared: whether its result is kept or computed again is the fusion's decision. A
 * structured op is shared only while its first result is needed anyway, so that sharing never holds memory longer.
 */
export function simplify(program: Program): Program {
  const simplifier = new Simplifier(program);
  program.instructions.forEach((instruction, index) => simplifier.add(instruction, index));
  return simplifier.finish();
}

/** Where and why an instruction was traced; rewritten instructions keep it. */
type Origin = Pick<Instruction, "scope" | "site">;

class Simplifier implements Simplified {
  readonly #program: Program;
  readonly #values: Aval[] = [];
  readonly #instructions: Instruction[] = [];
  /** The instruction that makes each new value; inputs have none. */
  readonly #makers: (Instruction | undefined)[] = [];
  /** New value of each old one. */
  readonly #renamed: ValueId[];
  /** Old instruction index at which each new value is last read, by the old program. */
  readonly #lastRead: number[] = [];
  readonly #known = new Map<string, ValueId>();
  readonly #oldLastRead: Int32Array;
  #origin: Origin = { scope: "" };
  #position = 0;

  constructor(program: Program) {
    this.#program = program;
    this.#oldLastRead = lastReads(program);
    this.#renamed = new Array(program.values.length);
    for (const { value } of program.inputs) {
      this.#renamed[value] = this.#define(program.values[value]);
      this.#lastRead[this.#renamed[value]] = Infinity;
    }
  }

  /** Takes over an instruction of the old program. */
  add(instruction: Instruction, position: number): void {
    const { op, attrs, inputs, output, scope, site } = instruction;
    this.#origin = site === undefined ? { scope } : { scope, site };
    this.#position = position;
    const value = this.emit(op, inputs.map((input) => this.#renamed[input]), attrs);
    this.#renamed[output] = value;
    this.#lastRead[value] = Math.max(this.#lastRead[value], this.#oldLastRead[output]);
  }

  /** An instruction's value: an older one where it is the same, rewritten where that is simpler. */
  emit<N extends OpName>(op: N, inputs: readonly ValueId[], attrs: OpAttrs[N]): ValueId {
    const rule = shapeRules[op] as ShapeRule<N>;
    const result = rule(inputs.map((input) => this.#values[input]), attrs);
    const simpler = rewrite(this, op, inputs, attrs, result);
    if (simpler !== undefined) return simpler;
    const key = op === "barrier" ? "" : `${op} ${inputs.join()} ${keyOf(attrs)}`;
    const known = this.#known.get(key);
    if (known !== undefined && (isFusable(op) || this.#lastRead[known] >= this.#position)) return known;
    const output = this.#define(result);
    const instruction = { op, attrs, inputs, output, ...this.#origin } as Instruction;
    this.#instructions.push(instruction);
    this.#makers[output] = instruction;
    if (key !== "") this.#known.set(key, output);
    return output;
  }

  /** Shape and dtype of a new value. */
  aval(value: ValueId): Aval {
    return this.#values[value];
  }

  /** The instruction that makes a new value, undefined for an input. */
  maker(value: ValueId): Instruction | undefined {
    return this.#makers[value];
  }

  /** The simplified program, without dead code and with its values numbered anew. */
  finish(): Program {
    const live = new Uint8Array(this.#values.length);
    for (const { value } of this.#program.outputs) live[this.#renamed[value]] = 1;
    for (const { value } of this.#program.inputs) live[this.#renamed[value]] = 1;
    for (let i = this.#instructions.length - 1; i >= 0; i--) {
      const { inputs, output } = this.#instructions[i];
      if (live[output] === 1) { for (const input of inputs) live[input] = 1; }
    }
    const values: Aval[] = [];
    const number = new Array<ValueId>(this.#values.length);
    this.#values.forEach((aval, value) => {
      if (live[value] === 1) number[value] = values.push(aval) - 1;
    });
    const { name, inputs, outputs } = this.#program;
    return {
      name,
      values,
      inputs: inputs.map((input) => ({ ...input, value: number[this.#renamed[input.value]] })),
      instructions: this.#instructions.filter(({ output }) => live[output] === 1).map((instruction) => {
        const inputs = instruction.inputs.map((input) => number[input]);
        return { ...instruction, inputs, output: number[instruction.output] } as Instruction;
      }),
      outputs: outputs.map((output) => ({ ...output, value: number[this.#renamed[output.value]] })),
    };
  }

  #define(aval: Aval): ValueId {
    this.#lastRead.push(-1);
    return this.#values.push(aval) - 1;
  }
}

/** Attributes as text, different for different ones. */
function keyOf(attrs: OpAttrs[OpName]): string {
  if ("fn" in attrs && !("axes" in attrs)) return attrs.fn;
  // JSON has no −0, infinities or NaN.
  if ("values" in attrs) {
    const values = attrs.values.map((value) => Object.is(value, -0) ? "-0" : value);
    return `${attrs.dtype} ${attrs.shape.join()} ${values.join()}`;
  }
  return JSON.stringify(attrs);
}

/** For each value, the index of the last instruction that reads its memory; the end for results. */
function lastReads({ values, instructions, outputs }: Program): Int32Array {
  const last = new Int32Array(values.length).fill(-1);
  for (const { value } of outputs) last[value] = instructions.length;
  for (let i = instructions.length - 1; i >= 0; i--) {
    const { op, inputs, output } = instructions[i];
    const read = isView(op) ? Math.max(i, last[output]) : i;
    for (const input of inputs) last[input] = Math.max(last[input], read);
  }
  return last;
}
