import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { applyOp } from "../backends/reference/ops.ts";
import { fromBf16 } from "../trace/bf16.ts";
import { type Shape, sizeOf } from "../trace/dtype.ts";
import type { HostArray } from "../trace/host_array.ts";
import { type CollectiveOp, isCollective, type OpName } from "../trace/ops.ts";
import { type BatchNorm, batchNormsOf } from "./batch_norm.ts";
import { fixed } from "./dim.ts";
import { elementwiseRules, together } from "./elementwise.ts";
import { dataTypeOf, Graph, valueInfo } from "./graph.ts";
import { imageRules } from "./images.ts";
import { movementRules } from "./movement.ts";
import {
  channelsFirst,
  type Computed,
  type Constant,
  elements,
  inOrder,
  type Operand,
  Reader,
} from "./operand.ts";
import type { Recorded, Recording, SymbolicAval } from "./record.ts";
import { rowRules } from "./rows.ts";
import { computed, converted, isKnown, type Lowering, node, type Rule, type Rules } from "./rule.ts";

const ALONE = { refused: "it exchanges data with other processes, and a model in a file runs alone" };

/** No op by which processes exchange data can be exported. */
const collectiveRules: Rules<CollectiveOp> = {
  allReduce: ALONE,
  broadcastFrom: ALONE,
  send: ALONE,
  receive: ALONE,
};

/** The rule of every op. */
const rules: Rules<OpName> = {
  ...elementwiseRules,
  ...movementRules,
  ...imageRules,
  ...rowRules,
  ...collectiveRules,
};

/** An input of a graph. */
export interface GraphInput {
  /** Axis i in the graph is axis `order[i]` of the value; default its own order. */
  readonly order?: readonly number[];
  /** Its description in the file. */
  readonly doc?: string;
}

/** A graph, and its results under their names. */
export interface Lowered {
  /** The graph. */
  readonly graph: Graph;
  /** The results. */
  readonly outputs: readonly { readonly value: string; readonly info: ReturnType<typeof valueInfo> }[];
}

/**
 * Lowers a recording to a graph. Inputs with an entry in `parameters` become tensors of the file, by name; the others
 * are inputs of the graph, the first extent of the first being the number of images.
 */
export function lower(
  recording: Recording,
  parameters: ReadonlyMap<string, HostArray>,
  describe: (name: string) => GraphInput = () => ({}),
): Lowered {
  const graph = new Graph();
  const operands = new Map<number, Operand>();
  const inGraph: string[] = [];
  for (const { value, name } of recording.inputs) {
    const { shape, dtype } = at(recording.values, value);
    const parameter = parameters.get(name);
    if (parameter !== undefined) operands.set(value, constantOf(name, parameter));
    else {
      const { order = inOrder({ shape }), doc } = describe(name);
      const own = graph.input(name, dataTypeOf(dtype), order.map((axis) => at(shape, axis)), doc);
      operands.set(value, computed(own, { shape, dtype }, order));
      inGraph.push(own);
    }
  }
  const to: Lowering = { graph, reader: new Reader(graph, inGraph[0]) };
  const norms = batchNormsOf(recording, (value) => operands.get(value)?.kind === "constant");
  const operandOf = (value: number): Operand => {
    const operand = operands.get(value);
    if (operand === undefined) throw new Error(`value ${value} is used before it is computed`);
    return operand;
  };
  for (const instruction of neededBy(recording, norms)) {
    const { inputs, output, scope } = instruction;
    graph.scope = scope;
    const norm = norms.get(output);
    const read = norm === undefined ? inputs.map(operandOf) : [];
    const result = norm === undefined
      ? rounded(to, read, apply(to, instruction, read, at(recording.values, output)))
      : batchNorm(to, norm, operandOf);
    operands.set(output, result);
  }
  graph.scope = "";
  const outputs = recording.outputs.map(({ value, name }) => {
    const { shape, dtype } = at(recording.values, value);
    const operand = operandOf(value);
    return {
      value: to.reader.whole(operand, inOrder(operand)),
      info: valueInfo(name, dataTypeOf(dtype), shape),
    };
  });
  return { graph, outputs };
}

/** A value in the file. */
function constantOf(name: string, { data, shape, dtype }: HostArray): Constant {
  const numbers = data instanceof Uint16Array ? fromBf16(data) : data;
  return { kind: "constant", name, shape, dtype, extents: shape, data: numbers };
}

/** Element-wise ops, which compute a repeated value once. */
const POINTWISE: readonly OpName[] = ["unary", "binary", "compare", "select", "cast"];
/** Ops whose rules take constants as they are. */
const VIEWS: readonly OpName[] = ["broadcast", "stopGradient", "barrier", "constant", "iota"];

function apply(
  to: Lowering,
  instruction: Recorded,
  operands: readonly Operand[],
  out: SymbolicAval,
): Operand {
  const { op, attrs, scope } = instruction;
  const constants = operands.filter((operand) => operand.kind === "constant");
  if (constants.length === operands.length && !VIEWS.includes(op) && !isCollective(op)) {
    const pointwise = POINTWISE.includes(op);
    const extents = pointwise ? together(operands) : out.shape;
    const known = constants.every(({ shape }) => pointwise || isKnown(shape)) && isKnown(extents);
    if (known) {
      const values = constants.map((each) => elements(each, (pointwise ? extents : each.shape) as Shape));
      const result = { shape: extents, dtype: out.dtype, data: new Float64Array(sizeOf(extents)) };
      applyOp(op, result, values, fixed(op, attrs as never));
      const [moved] = op === "reshape" || op === "transpose" ? constants : [];
      return {
        kind: "constant",
        name: moved?.name ?? (scope === "" ? op : `${scope}/${op}`),
        ...out,
        extents,
        data: result.data,
      };
    }
  }
  const rule = rules[op];
  if ("refused" in rule) {
    throw new LocalgradError(
      `exportOnnx: ${op}${scope === "" ? "" : ` in ${scope}`} cannot be exported: ${rule.refused}`,
    );
  }
  // The rule and the instruction belong to the same op, which the type system cannot see.
  return (rule as Rule<OpName>)(to, operands as never, attrs as never, out);
}

/** Rounds the result of an op to bf16, if that is its dtype and it is not an operand seen otherwise. */
function rounded({ graph }: Lowering, operands: readonly Operand[], result: Operand): Operand {
  if (result.kind === "constant" || result.dtype !== "bf16") return result;
  if (operands.some(({ name }) => name === result.name)) return result;
  return { ...result, name: converted(graph, converted(graph, result.name, "BFLOAT16"), "FLOAT") };
}

/**
 * The instructions that the results need, and all exchanges with other processes, which are refused. A batch norm needs
 * its operands, and not the arithmetic between.
 */
function neededBy(
  { instructions, outputs }: Recording,
  norms: ReadonlyMap<number, BatchNorm>,
): readonly Recorded[] {
  const needed = new Set(outputs.map(({ value }) => value));
  return instructions.toReversed().filter(({ op, inputs, output }) => {
    if (!needed.has(output) && !isCollective(op)) return false;
    for (const value of Object.values(norms.get(output)?.operands ?? inputs)) needed.add(value);
    return true;
  }).toReversed();
}

/** A batch norm as ONNX's operator, for channels in the second axis. */
function batchNorm(
  to: Lowering,
  { operands, epsilon }: BatchNorm,
  operandOf: (value: number) => Operand,
): Computed {
  const x = operandOf(operands.x);
  const { weight, bias, mean, variance } = operands;
  const order = channelsFirst(x);
  const vectors = [weight, bias, mean, variance].map((value) => to.reader.whole(operandOf(value)));
  const inputs = [to.reader.whole(x, order), ...vectors];
  return node(to, "BatchNormalization", inputs, x, order, { epsilon: { float: epsilon } });
}
