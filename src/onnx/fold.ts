import { at } from "../base/at.ts";
import { sizeOf } from "../trace/dtype.ts";
import type { Graph, GraphNode, Initializer } from "./graph.ts";

/**
 * Adds what follows a convolution or a matrix product to its weights: a learned bias, and with `batchNorms` a batch
 * norm too, in float64 and rounded once. Only where nothing else reads what is between them.
 */
export function fold(graph: Graph, outputs: readonly string[], batchNorms: boolean): void {
  const readers = new Map<string, number>();
  const read = (value: string, times = 1) => readers.set(value, (readers.get(value) ?? 0) + times);
  for (const name of [...outputs, ...graph.nodes.flatMap(({ inputs }) => inputs)]) read(name);
  // What only values that nobody reads read, such as a batch norm's own arithmetic, does not count.
  for (const node of graph.nodes.toReversed()) {
    if ((readers.get(node.output) ?? 0) === 0) { for (const input of node.inputs) read(input, -1); }
  }
  const producers = new Map(graph.nodes.map((node) => [node.output, node]));
  const folded = new Set<GraphNode>();
  for (const node of graph.nodes) {
    if (node.op !== "Add" && !(node.op === "BatchNormalization" && batchNorms)) continue;
    if ((readers.get(node.output) ?? 0) === 0) continue;
    const [first, second] = node.inputs.map((input) => producers.get(input));
    const producer = first ?? (node.op === "Add" ? second : undefined);
    if (producer === undefined || readers.get(producer.output) !== 1) continue;
    const done = node.op === "Add" ? withBias(graph, producer, node) : withNorm(graph, producer, node);
    if (!done) continue;
    producer.output = node.output;
    producers.set(node.output, producer);
    folded.add(node);
  }
  graph.nodes = graph.nodes.filter((node) => !folded.has(node));
}

/** The weights of a convolution or a product with a matrix in the file; undefined for any other node. */
function weightsOf(graph: Graph, { op, inputs, attributes }: GraphNode) {
  const weight = op === "Conv" || op === "Gemm" ? graph.initializers.get(inputs[1] ?? "") : undefined;
  if (weight === undefined) return undefined;
  const axis = op === "Conv" || attributes["transB"] === 1 ? 0 : 1;
  return { weight, axis, features: at(weight.shape, axis) };
}

/** Makes an addition of a value per feature the bias of its producer. */
function withBias(graph: Graph, producer: GraphNode, node: GraphNode): boolean {
  const weights = weightsOf(graph, producer);
  const name = node.inputs.find((input) => graph.initializers.has(input));
  const bias = name === undefined ? undefined : graph.initializers.get(name);
  if (name === undefined || bias === undefined || weights === undefined || producer.inputs.length > 2) {
    return false;
  }
  const { features } = weights;
  const perFeature = producer.op === "Conv" ? [features, 1, 1] : [features];
  if (String(bias.shape) !== String(perFeature)) return false;
  producer.inputs.push(
    producer.op === "Conv" ? graph.reshaped(name, [features]) : name,
  );
  return true;
}

/** Multiplies a batch norm into the weights of its producer. */
function withNorm(graph: Graph, producer: GraphNode, node: GraphNode): boolean {
  const weights = weightsOf(graph, producer);
  const [scale, shift, mean, variance] = node.inputs.slice(1).map((name) =>
    graph.initializers.get(name)?.data
  );
  const [, weightName = "", biasName] = producer.inputs;
  const bias = biasName === undefined ? undefined : graph.initializers.get(biasName);
  if (weights === undefined || (biasName !== undefined && bias === undefined)) return false;
  if (scale === undefined || shift === undefined || mean === undefined || variance === undefined) {
    return false;
  }
  const { weight, axis, features } = weights;
  const epsilon = node.attributes["epsilon"];
  const added = typeof epsilon === "object" && "float" in epsilon ? epsilon.float : 1e-5;
  const factors = Float64Array.from(
    { length: features },
    (_, i) => at(scale, i) / Math.sqrt(at(variance, i) + added),
  );
  const sums = Float64Array.from(
    factors,
    (factor, i) => ((bias === undefined ? 0 : at(bias.data, i)) - at(mean, i)) * factor + at(shift, i),
  );
  const own = graph.initializer(`${weightName}.folded`, { ...weight, data: scaled(weight, axis, factors) });
  const ownBias = graph.initializer(`${node.inputs[2]}.folded`, {
    type: "FLOAT",
    shape: [features],
    data: sums,
  });
  producer.inputs = [at(producer.inputs, 0), own, ownBias];
  return true;
}

/** Multiplies each slice of a tensor along an axis by a factor. */
function scaled({ shape, data }: Initializer, axis: number, factors: Float64Array): Float32Array {
  const inner = sizeOf(shape.slice(axis + 1));
  const result = new Float32Array(data.length);
  for (let i = 0; i < result.length; i++) {
    result[i] = at(data, i) * at(factors, Math.floor(i / inner) % factors.length);
  }
  return result;
}
