import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { type Aval, bytesOf, type Shape, sizeOf } from "../trace/dtype.ts";
import { isFusable } from "../trace/ops.ts";
import {
  type CollectiveInstruction,
  type Instruction,
  type InstructionOf,
  isCollectiveInstruction,
  isStructuredInstruction,
  type Program,
  type ProgramOutput,
  type StructuredInstruction,
  type ValueId,
} from "../trace/program.ts";
import { DraftKernel } from "./draft_kernel.ts";
import { Blocked, ExpressionBuilder, type Obstacle } from "./expression.ts";
import { identityMap, type SplitAxis } from "./index_map.ts";
import { Makers } from "./makers.ts";
import { NodeList } from "./nodes.ts";
import { Storage } from "./storage.ts";

/** A step without a place in memory, whose kernel can still absorb others. */
export type DraftStep =
  | {
    readonly kind: "op";
    readonly instruction: StructuredInstruction | CollectiveInstruction;
    /** The values whose memory it reads: its operands, or those they are views of. */
    readonly inputs: readonly ValueId[];
    readonly outputs: readonly [ValueId];
  }
  | { readonly kind: "kernel"; readonly kernel: DraftKernel; readonly scope: string };

/** Returns the values whose memory a step reads. */
export function readsOf(step: DraftStep): readonly ValueId[] {
  return step.kind === "kernel" ? step.kernel.inputs : step.inputs;
}

/** Tests whether a step exchanges data with other processes. All such steps of a plan stay in program order. */
export function isCollectiveStep(step: DraftStep): boolean {
  return step.kind === "op" && isCollectiveInstruction(step.instruction);
}

/** Returns the values a step writes. */
export function writesOf(step: DraftStep): readonly ValueId[] {
  return step.kind === "kernel" ? step.kernel.outputs : step.outputs;
}

/** A plan before memory is placed. Values without memory are already part of kernels. */
export interface DraftPlan {
  /** The program it came from. */
  readonly program: Program;
  /** Shape and dtype of every value: the program's values, then copies. */
  readonly values: readonly Aval[];
  /** The size of every value. */
  readonly bytes: readonly number[];
  /** The program's results; each has its own buffer, or is a donated input that is returned. */
  readonly outputs: readonly ProgramOutput[];
  /** The steps, in order. */
  readonly steps: readonly DraftStep[];
  /** For each value, the value whose memory it shares: itself, or the one it is a view of. */
  readonly views: readonly ValueId[];
  /** Literals of several elements, by value. */
  readonly literals: ReadonlyMap<ValueId, InstructionOf<"constant">["attrs"]>;
}

/** Turns a program into steps, one for each value that needs memory. */
export function draftPlan(program: Program, maxKernelBuffers: number): DraftPlan {
  return new Drafting(program, maxKernelBuffers).result();
}

/** An axis of a kernel's space. */
interface Axis {
  readonly extent: number;
  readonly reduced: boolean;
}

class Drafting {
  readonly #program: Program;
  readonly #storage: Storage;
  readonly #maxBuffers: number;
  readonly #makers: Makers;
  /** The kernel, or the op, that makes each value. */
  readonly #makes: (DraftKernel | StructuredInstruction | CollectiveInstruction | undefined)[];

  constructor(program: Program, maxKernelBuffers: number) {
    this.#program = program;
    this.#maxBuffers = maxKernelBuffers;
    this.#storage = new Storage(program, maxKernelBuffers - 1);
    this.#makers = new Makers(program);
    this.#makes = new Array(program.values.length);
    for (const instruction of program.instructions) this.#addStep(instruction);
  }

  result(): DraftPlan {
    const { values, instructions } = this.#program;
    const literals = new Map<ValueId, InstructionOf<"constant">["attrs"]>();
    const steps: DraftStep[] = [];
    const views = values.map((_, value) => this.#storage.base(value));
    for (const { op, attrs, output, scope } of instructions) {
      if (op === "constant" && attrs.values.length > 1) literals.set(output, attrs);
      const made = this.#makes[output];
      if (made instanceof DraftKernel) steps.push({ kind: "kernel", kernel: made, scope });
      else if (made !== undefined) {
        const inputs = made.inputs.map((input) => at(views, input));
        steps.push({ kind: "op", instruction: made, inputs, outputs: [output] });
      }
    }
    return withCopies({
      program: this.#program,
      values,
      bytes: values.map(bytesOf),
      outputs: this.#program.outputs,
      steps,
      views,
      literals,
    });
  }

  /** Adds the step of an instruction whose value needs one. */
  #addStep(instruction: Instruction): void {
    const { op, attrs, output } = instruction;
    const isLiteral = op === "constant" && attrs.values.length > 1;
    if (isCollectiveInstruction(instruction)) {
      this.#makes[output] = instruction; // although nothing may read its result
      return;
    }
    if (!this.#storage.has(output) || isLiteral || this.#makes[output] !== undefined) return;
    if (sizeOf(at(this.#program.values, output).shape) === 0) return;
    if (op === "reduce" || (isFusable(op) && this.#storage.base(output) === output)) {
      this.#makes[output] = this.#kernel(instruction);
    } else if (isStructuredInstruction(instruction)) {
      this.#makes[output] = instruction;
    }
  }

  #kernel(instruction: Instruction): DraftKernel {
    const isReduce = instruction.op === "reduce";
    const root = isReduce ? instruction.inputs[0] : instruction.output;
    const { shape } = at(this.#program.values, root);
    const reduced: readonly number[] = isReduce ? instruction.attrs.axes : [];
    let axes: readonly Axis[] = shape.map((extent, axis) => ({ extent, reduced: reduced.includes(axis) }))
      .filter(({ extent }) => extent !== 1);
    for (;;) {
      const space = axes.map(({ extent }) => extent);
      const builder = new ExpressionBuilder(this.#program, this.#makers, this.#storage, space);
      try {
        const node = builder.value(root, identityMap(shape, space), !isReduce);
        if (builder.inputs.length < this.#maxBuffers) {
          const reducedAxes = axes.flatMap((axis, i) => axis.reduced ? [i] : []);
          return finish(instruction, space, reducedAxes, builder, node);
        }
        this.#store(this.#largest(instruction.inputs));
      } catch (blocked) {
        if (!(blocked instanceof Blocked)) throw blocked;
        axes = this.#resolve(blocked.obstacle, axes);
      }
    }
  }

  /** Removes the obstacle to building an expression; returns the axes to try again with. */
  #resolve(obstacle: Obstacle, axes: readonly Axis[]): readonly Axis[] {
    if ("split" in obstacle) return split(axes, obstacle.split);
    this.#store(obstacle.store);
    return axes;
  }

  #store(value: ValueId): void {
    this.#storage.store(value);
    this.#addStep(this.#makers.get(this.#storage.base(value)));
  }

  /** The operand, of those not yet stored, that reads the most stored values. */
  #largest(inputs: readonly ValueId[]): ValueId {
    const computed = inputs.filter((input) => !this.#storage.has(input));
    return computed.reduce((a, b) => this.#storage.leafCount(b) > this.#storage.leafCount(a) ? b : a);
  }
}

function split(axes: readonly Axis[], { axis, inner }: SplitAxis): readonly Axis[] {
  const { extent, reduced } = at(axes, axis);
  return axes.toSpliced(axis, 1, { extent: extent / inner, reduced }, { extent: inner, reduced });
}

function finish(
  instruction: Instruction,
  space: Shape,
  reducedAxes: readonly number[],
  { inputs, list }: ExpressionBuilder,
  node: number,
): DraftKernel {
  const kernel = new DraftKernel(space, inputs, list);
  if (instruction.op === "reduce") {
    kernel.reduceTo(instruction.attrs.fn, node, reducedAxes, instruction.output);
  } else {
    kernel.store(node, instruction.output);
  }
  return kernel;
}

/**
 * Copies results that have no buffer of their own: returned inputs (unless in their own donated memory), literals, and
 * values returned twice. Inputs are copied first, before anything is written over them.
 */
function withCopies(draft: DraftPlan): DraftPlan {
  const { program, literals } = draft;
  const inputs = new Map(program.inputs.map(({ value }, index) => [value, index]));
  const taken = new Set<ValueId>();
  const values = [...draft.values];
  const bytes = [...draft.bytes];
  const views = [...draft.views];
  const [before, after]: [DraftStep[], DraftStep[]] = [[], []];
  const outputs = program.outputs.map((output) => {
    const base = at(views, output.value);
    const input = inputs.get(base);
    const own = input === undefined ? !literals.has(base) : output.donor === input;
    if (own && !taken.has(base)) {
      taken.add(base);
      return output;
    }
    const aval = at(values, output.value);
    if (aval.dtype === "u8") {
      throw new LocalgradError(
        `${program.name}: result ${output.name} is a u8 input; cast it, or use the input itself`,
      );
    }
    const copy = values.push(aval) - 1;
    bytes.push(bytesOf(aval));
    views.push(copy);
    const step: DraftStep = { kind: "kernel", kernel: copyOf(aval, base, copy), scope: "" };
    if (sizeOf(aval.shape) > 0) (input === undefined ? after : before).push(step);
    return { ...output, value: copy };
  });
  return { ...draft, values, bytes, views, outputs, steps: [...before, ...draft.steps, ...after] };
}

function copyOf({ shape, dtype }: Aval, from: ValueId, to: ValueId): DraftKernel {
  const list = new NodeList();
  const node = list.add({ kind: "load", input: 0, view: { offset: 0, strides: [1] }, dtype });
  const kernel = new DraftKernel([sizeOf(shape)], [from], list);
  kernel.store(node, to);
  return kernel;
}
