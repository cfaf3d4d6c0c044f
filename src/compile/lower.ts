import { LocalgradError } from "../base/errors.ts";
import { type Aval, type Shape, sizeOf } from "../trace/dtype.ts";
import { isFusable } from "../trace/ops.ts";
import {
  type Instruction,
  type InstructionOf,
  isStructuredInstruction,
  type Program,
  type ProgramOutput,
  type StructuredInstruction,
  type ValueId,
} from "../trace/program.ts";
import { Draft } from "./draft.ts";
import { Blocked, ExpressionBuilder, type Obstacle } from "./expression.ts";
import { identityMap, type SplitAxis } from "./index_map.ts";
import { NodeList } from "./nodes.ts";
import { Storage } from "./storage.ts";

/** A step without a place in memory; kernels can still be merged. */
export type LoweredStep =
  | { readonly kind: "op"; readonly instruction: StructuredInstruction }
  | { readonly kind: "kernel"; readonly draft: Draft; readonly scope: string };

/** The values a step reads, each the base of what it names. */
export function readsOf(step: LoweredStep, views: readonly ValueId[]): readonly ValueId[] {
  return step.kind === "kernel" ? step.draft.inputs : step.instruction.inputs.map((input) => views[input]);
}

/** The values a step writes. */
export function writesOf(step: LoweredStep): readonly ValueId[] {
  return step.kind === "kernel" ? step.draft.outputs : [step.instruction.output];
}

/** A program as steps: values without memory are gone into kernels, but nothing has a place yet. */
export interface Lowered {
  /** The program it came from. */
  readonly program: Program;
  /** Shape and dtype of every value: the program's, then copies. */
  readonly values: readonly Aval[];
  /** The program's results; each is a buffer of its own, or a donated input that is handed back. */
  readonly outputs: readonly ProgramOutput[];
  /** What to do, in order. */
  readonly steps: readonly LoweredStep[];
  /** The value whose memory each value is in: itself, or what it renames. */
  readonly views: readonly ValueId[];
  /** Literals of several elements, by value. */
  readonly literals: ReadonlyMap<ValueId, InstructionOf<"constant">["attrs"]>;
}

/** Turns a program into steps, one for each value that needs memory. */
export function lower(program: Program, maxKernelBuffers: number): Lowered {
  return new Lowering(program, maxKernelBuffers).result();
}

/** Steps in the place of the instruction whose value they make; at most one each. */
class Lowering {
  readonly #program: Program;
  readonly #storage: Storage;
  readonly #maxBuffers: number;
  readonly #makers: (Instruction | undefined)[];
  readonly #positions: Int32Array;
  readonly #steps: (LoweredStep | undefined)[];

  constructor(program: Program, maxKernelBuffers: number) {
    this.#program = program;
    this.#maxBuffers = maxKernelBuffers;
    this.#storage = new Storage(program, maxKernelBuffers - 1);
    this.#makers = new Array(program.values.length);
    this.#positions = new Int32Array(program.values.length).fill(-1);
    program.instructions.forEach((instruction, i) => {
      this.#makers[instruction.output] = instruction;
      this.#positions[instruction.output] = i;
    });
    this.#steps = new Array(program.instructions.length);
    for (const instruction of program.instructions) this.#step(instruction);
  }

  result(): Lowered {
    const { values, instructions } = this.#program;
    const literals = new Map<ValueId, InstructionOf<"constant">["attrs"]>();
    for (const { op, attrs, output } of instructions) {
      if (op === "constant" && attrs.values.length > 1) literals.set(output, attrs);
    }
    const lowered: Lowered = {
      program: this.#program,
      values,
      outputs: this.#program.outputs,
      steps: this.#steps.filter((step) => step !== undefined),
      views: values.map((_, value) => this.#storage.base(value)),
      literals,
    };
    return withCopies(lowered);
  }

  /** Makes the step of an instruction whose value needs one. */
  #step(instruction: Instruction): void {
    const { op, attrs, output, scope } = instruction;
    const place = this.#positions[output];
    const isLiteral = op === "constant" && attrs.values.length > 1;
    if (!this.#storage.has(output) || isLiteral || this.#steps[place] !== undefined) return;
    if (sizeOf(this.#program.values[output].shape) === 0) return;
    if (op === "reduce" || (isFusable(op) && this.#storage.base(output) === output)) {
      this.#steps[place] = { kind: "kernel", draft: this.#kernel(instruction), scope };
    } else if (isStructuredInstruction(instruction)) {
      this.#steps[place] = { kind: "op", instruction };
    }
  }

  #kernel(instruction: Instruction): Draft {
    const { values } = this.#program;
    const root = instruction.op === "reduce" ? instruction.inputs[0] : instruction.output;
    const { shape } = values[root];
    const folded: readonly number[] = instruction.op === "reduce" ? instruction.attrs.axes : [];
    let axes = shape.map((extent, axis) => ({ extent, folded: folded.includes(axis) }))
      .filter(({ extent }) => extent !== 1);
    for (;;) {
      const space = axes.map(({ extent }) => extent);
      const builder = new ExpressionBuilder(this.#program, this.#makers, this.#storage, space);
      try {
        const node = builder.value(root, identityMap(shape, space), instruction.op !== "reduce");
        if (builder.inputs.length < this.#maxBuffers) {
          return finish(instruction, space, axes.flatMap((axis, i) => axis.folded ? [i] : []), builder, node);
        }
        this.#store(this.#largest(instruction));
      } catch (blocked) {
        if (!(blocked instanceof Blocked)) throw blocked;
        axes = this.#clear(blocked.obstacle, axes);
      }
    }
  }

  /** Removes what an expression could not be built past; gives the axes of the space to try again with. */
  #clear(obstacle: Obstacle, axes: { extent: number; folded: boolean }[]): typeof axes {
    if ("split" in obstacle) return split(axes, obstacle.split);
    this.#store(obstacle.store);
    return axes;
  }

  #store(value: ValueId): void {
    this.#storage.store(value);
    this.#step(this.#makers[this.#storage.base(value)]!);
  }

  /** The operand, not yet stored, that reads the most. */
  #largest({ inputs }: Instruction): ValueId {
    const computed = inputs.filter((input) => !this.#storage.has(input));
    return computed.reduce((a, b) => this.#storage.leafCount(b) > this.#storage.leafCount(a) ? b : a);
  }
}

function split(
  axes: { extent: number; folded: boolean }[],
  { axis, inner }: SplitAxis,
): { extent: number; folded: boolean }[] {
  const { extent, folded } = axes[axis];
  return axes.toSpliced(axis, 1, { extent: extent / inner, folded }, { extent: inner, folded });
}

function finish(
  instruction: Instruction,
  space: Shape,
  folded: readonly number[],
  { inputs, list }: ExpressionBuilder,
  node: number,
): Draft {
  const draft = new Draft(space, inputs, list);
  if (instruction.op === "reduce") draft.fold(instruction.attrs.fn, node, folded, instruction.output);
  else draft.store(node, instruction.output);
  return draft;
}

/**
 * Copies results that are not buffers of their own: inputs handed back (unless in their own donated memory), literals,
 * and values given twice. Copies of inputs come first, before anything is written over them.
 */
function withCopies(lowered: Lowered): Lowered {
  const { program, literals } = lowered;
  const inputs = new Map(program.inputs.map(({ value }, index) => [value, index]));
  const taken = new Set<ValueId>();
  const values = [...lowered.values];
  const views = [...lowered.views];
  const [before, after]: [LoweredStep[], LoweredStep[]] = [[], []];
  const outputs = program.outputs.map((output) => {
    const base = views[output.value];
    const input = inputs.get(base);
    const own = input === undefined ? !literals.has(base) : output.donor === input;
    if (own && !taken.has(base)) {
      taken.add(base);
      return output;
    }
    const aval = values[output.value];
    if (aval.dtype === "u8") {
      throw new LocalgradError(
        `${program.name}: result ${output.name} is a u8 input; cast it, or use the input itself`,
      );
    }
    const copy = values.push(aval) - 1;
    views.push(copy);
    const step: LoweredStep = { kind: "kernel", draft: copyOf(aval, base, copy), scope: "" };
    if (sizeOf(aval.shape) > 0) (input === undefined ? after : before).push(step);
    return { ...output, value: copy };
  });
  return { ...lowered, values, views, outputs, steps: [...before, ...lowered.steps, ...after] };
}

function copyOf({ shape, dtype }: Aval, from: ValueId, to: ValueId): Draft {
  const list = new NodeList();
  const node = list.add({ kind: "load", input: 0, view: { offset: 0, strides: [1] }, dtype });
  const draft = new Draft([sizeOf(shape)], [from], list);
  draft.store(node, to);
  return draft;
}
