import { at } from "../base/at.ts";
import type { Aval } from "../trace/dtype.ts";
import { isCollective, isFusable, isView, type OpAttrs, type OpName } from "../trace/ops.ts";
import type { Instruction, Program, ValueId } from "../trace/program.ts";
import { shapeRules } from "../trace/shape_rules.ts";
import { rewrite } from "./rewrite.ts";
import type { Simplified } from "./simplified.ts";

/**
 * Returns a program with the same results and less work: rewritten by algebra ({@link rewrite}), with common
 * subexpressions computed once and dead code removed. It contains no `stopGradient`. Program order is kept.
 *
 * Element-wise work is always shared: fusion decides whether its result is kept or recomputed. A structured op is shared
 * only while its first result is needed anyway, so that sharing never keeps memory live longer. Collective ops stay as they
 * are, but for those in a group of one process, which `alone` names: there a reduction is its operand.
 */
export function simplify(program: Program, alone: ReadonlySet<string> = new Set()): Program {
  const simplifier = new Simplifier(program, alone);
  program.instructions.forEach((instruction, position) => simplifier.add(instruction, position));
  return simplifier.finish();
}

/** Scope and site of an instruction, which rewritten instructions keep. */
type Origin = Pick<Instruction, "scope" | "site">;

/** A value of the new program. */
interface NewValue {
  readonly aval: Aval;
  /** The instruction that makes it; undefined for an input. */
  readonly maker: Instruction | undefined;
  /** The position at which the old program reads it last; one past the end for inputs and results. */
  lastRead: number;
  /** Its number in the result; −1 if nothing needs it. */
  number: number;
}

class Simplifier implements Simplified {
  readonly #program: Program;
  readonly #alone: ReadonlySet<string>;
  readonly #values: NewValue[] = [];
  readonly #instructions: Instruction[] = [];
  /** The new value of each old one. */
  readonly #renamed: ValueId[];
  /** The new value of each op on given operands. */
  readonly #known = new Map<string, ValueId>();
  readonly #lastReads: readonly number[];
  #origin: Origin = { scope: "" };
  #position = 0;

  constructor(program: Program, alone: ReadonlySet<string>) {
    this.#program = program;
    this.#alone = alone;
    this.#lastReads = lastReads(program);
    this.#renamed = new Array(program.values.length);
    const lastRead = program.instructions.length;
    for (const { value } of program.inputs) {
      const aval = at(program.values, value);
      this.#renamed[value] = this.#values.push({ aval, maker: undefined, lastRead, number: -1 }) - 1;
    }
  }

  /** Adds an instruction of the old program. */
  add({ op, attrs, inputs, output, scope, site }: Instruction, position: number): void {
    this.#origin = site === undefined ? { scope } : { scope, site };
    this.#position = position;
    const value = this.emit(op, inputs.map((input) => at(this.#renamed, input)), attrs);
    this.#renamed[output] = value;
    const added = at(this.#values, value);
    added.lastRead = Math.max(added.lastRead, at(this.#lastReads, output));
  }

  /** Returns the value of an op on `inputs`: an existing value if it is the same, a simpler one if there is one. */
  emit<N extends OpName>(op: N, inputs: readonly ValueId[], attrs: OpAttrs[N]): ValueId {
    const aval = shapeRules[op](inputs.map((input) => this.aval(input)), attrs);
    const [operand] = inputs;
    if ("group" in attrs && operand !== undefined && op !== "send" && this.#alone.has(attrs.group)) {
      return operand;
    }
    const simpler = rewrite(this, op, inputs, attrs, aval);
    if (simpler !== undefined) return simpler;
    const key = op === "barrier" || isCollective(op) ? "" : `${op} ${inputs.join()} ${keyOf(attrs)}`;
    const known = this.#known.get(key);
    if (known !== undefined && (isFusable(op) || at(this.#values, known).lastRead >= this.#position)) {
      return known;
    }
    const output = this.#values.length;
    // The shape rule has checked that there are as many operands as the op has.
    const maker = { op, attrs, inputs, output, ...this.#origin } as unknown as Instruction;
    this.#values.push({ aval, maker, lastRead: -1, number: -1 });
    this.#instructions.push(maker);
    if (key !== "") this.#known.set(key, output);
    return output;
  }

  /** Returns the shape and dtype of a new value. */
  aval(value: ValueId): Aval {
    const known = this.#values[value]; // at() is slower here, being shared by arrays of all kinds
    return known === undefined ? missing(value) : known.aval;
  }

  /** Returns the instruction that makes a new value; undefined for an input. */
  maker(value: ValueId): Instruction | undefined {
    return at(this.#values, value).maker;
  }

  /** Returns the simplified program, without dead code and with its values renumbered. */
  finish(): Program {
    const { name, inputs, outputs } = this.#program;
    const isLive = new Uint8Array(this.#values.length);
    for (const { value } of [...outputs, ...inputs]) isLive[at(this.#renamed, value)] = 1;
    for (const { op, output } of this.#instructions) if (isCollective(op)) isLive[output] = 1;
    for (let i = this.#instructions.length - 1; i >= 0; i--) {
      const { inputs, output } = at(this.#instructions, i);
      if (isLive[output] === 1) { for (const input of inputs) isLive[input] = 1; }
    }
    const kept = this.#values.filter((_, value) => isLive[value] === 1);
    kept.forEach((value, number) => value.number = number);
    const number = (value: ValueId): ValueId => at(this.#values, value).number;
    return {
      name,
      values: kept.map(({ aval }) => aval),
      inputs: inputs.map((input) => ({ ...input, value: number(at(this.#renamed, input.value)) })),
      instructions: this.#instructions.filter(({ output }) => isLive[output] === 1).map((instruction) => {
        const inputs = instruction.inputs.map(number);
        return { ...instruction, inputs, output: number(instruction.output) } as Instruction;
      }),
      outputs: outputs.map((output) => ({ ...output, value: number(at(this.#renamed, output.value)) })),
    };
  }
}

function missing(value: ValueId): never {
  throw new RangeError(`no value %${value}`);
}

/** Formats attributes as text that is different for different attributes. */
function keyOf(attrs: OpAttrs[OpName]): string {
  if ("fn" in attrs && !("axes" in attrs)) return attrs.fn;
  // JSON has no −0, infinities or NaN.
  if ("values" in attrs) {
    const values = attrs.values.map((value) => Object.is(value, -0) ? "-0" : value);
    return `${attrs.dtype} ${attrs.shape.join()} ${values.join()}`;
  }
  return JSON.stringify(attrs);
}

/** Returns, for each value, the last instruction that reads its memory; one past the end for results. */
function lastReads({ values, instructions, outputs }: Program): readonly number[] {
  const last = values.map(() => -1);
  for (const { value } of outputs) last[value] = instructions.length;
  for (let i = instructions.length - 1; i >= 0; i--) {
    const { op, inputs, output } = at(instructions, i);
    const read = isView(op) ? Math.max(i, at(last, output)) : i;
    for (const input of inputs) last[input] = Math.max(at(last, input), read);
  }
  return last;
}
