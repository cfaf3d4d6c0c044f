import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { inputShape, type Model, network } from "../models/model.ts";
import type { Initial } from "../nn/initial.ts";
import type { Named } from "../nn/named.ts";
import type { Aval, DType } from "../trace/dtype.ts";
import type { OpAttrs, OpName, OpOperands } from "../trace/ops.ts";
import type { Program, ProgramInput, ProgramOutput, ValueId } from "../trace/program.ts";
import { Tensor } from "../trace/tensor.ts";
import { Trace, withTrace } from "../trace/trace.ts";
import { treeFlatten, treeUnflatten } from "../trace/tree.ts";
import { type Dim, type Symbolic, symbolic } from "./dim.ts";

/** Shape and dtype of a value, for every batch. */
export interface SymbolicAval {
  /** Extent of each axis. */
  readonly shape: readonly Dim[];
  /** Element type. */
  readonly dtype: DType;
}

/** One op of a recorded network. */
export interface RecordedOf<N extends OpName> {
  /** The op's name. */
  readonly op: N;
  /** Its attributes. */
  readonly attrs: Symbolic<OpAttrs[N]>;
  /** Its operands. */
  readonly inputs: OpOperands<ValueId>[N];
  /** Its result. */
  readonly output: ValueId;
  /** The part of the network that recorded it. */
  readonly scope: string;
}

/** One op of a recorded network, whichever it is. */
export type Recorded = { [N in OpName]: RecordedOf<N> }[OpName];

/** A program for batches of any size. */
export interface Recording {
  /** Shape and dtype of every value. */
  readonly values: readonly SymbolicAval[];
  /** Inputs in order. */
  readonly inputs: readonly ProgramInput[];
  /** Instructions in program order. */
  readonly instructions: readonly Recorded[];
  /** Results in order. */
  readonly outputs: readonly ProgramOutput[];
}

/** The name of the input. */
export const IMAGES = "images";

/** The name of the result. */
export const LOGITS = "logits";

/** Sizes of the batches for which a network is recorded, to see which extents grow with the batch and how. */
const SIZES = [2, 3, 5];

/** Records a network in evaluation, for batches of `batch` images, or of any number of them. */
export function record(model: Model, batch: number | undefined): Recording {
  if (batch !== undefined) return recordingOf([programOf(model, batch)], [batch]);
  return recordingOf(SIZES.map((size) => programOf(model, size)), SIZES);
}

function programOf(model: Model, batch: number): Program {
  const net = network(model);
  const trace = new Trace();
  const input = (aval: Aval, name: string) => new Tensor(trace, trace.builder.input(aval, name));
  const inputs = (tree: Named<Initial>) => {
    const { leaves, paths, structure } = treeFlatten<Initial>(tree);
    const tensors = leaves.map(({ shape, dtype }, i) => input({ shape, dtype }, at(paths, i)));
    return treeUnflatten(structure, tensors) as Named<Tensor>;
  };
  return withTrace(trace, () => {
    const x = input({ shape: [batch, ...inputShape(model)], dtype: "f32" }, IMAGES);
    const y = net.apply(inputs(net.params), inputs(net.state), x, "evaluate").y.cast("f32");
    return trace.builder.finish(model.name, [{ value: y.id, name: LOGITS }]);
  });
}

/** The common form of programs that were recorded for batches of `sizes` images. */
export function recordingOf(programs: readonly Program[], sizes: readonly number[]): Recording {
  const first = at(programs, 0);
  const differ = (where: string): never => {
    throw new LocalgradError(
      `exportOnnx: ${where} is not the same computation for every number of images; export for a fixed number: ` +
        `{ batch: 1 }`,
    );
  };
  if (programs.some(({ instructions }) => instructions.length !== first.instructions.length)) {
    differ(first.name);
  }
  return {
    inputs: first.inputs,
    outputs: first.outputs,
    values: first.values.map((_, value) =>
      symbolic(programs.map(({ values }): Aval => at(values, value)), sizes) ?? differ(first.name)
    ),
    instructions: first.instructions.map((instruction, i) => {
      const { op, scope, inputs, output } = instruction;
      const all = programs.map(({ instructions }) => at(instructions, i));
      const common = all.every((each) => each.op === op && String(each.inputs) === String(inputs));
      const attrs = common ? symbolic(all.map(({ attrs }) => attrs), sizes) : undefined;
      return {
        op,
        scope,
        inputs,
        output,
        attrs: attrs ?? differ(scope === "" ? op : `${op} in ${scope}`),
      } as Recorded;
    }),
  };
}
