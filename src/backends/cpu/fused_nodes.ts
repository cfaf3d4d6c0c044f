import type { Node } from "../../compile/kernel.ts";
import { roundBf16 } from "../../trace/bf16.ts";
import { isFloat } from "../../trace/dtype.ts";
import type { V128 } from "./wasm/expressions.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { Local } from "./wasm/function.ts";
import { binary, boundedBy, cast, compare, isRounded, unary } from "./fused_ops.ts";
import { hasView, type Nest } from "./fused_nest.ts";
import { decode, indexVector, readVector, type Streams } from "./fused_streams.ts";
import { VectorMath } from "./math.ts";
import { LANES } from "./tile.ts";

type Lanes = Local<"v128">;

/**
 * The loops in which a node's value changes: 0 none, 1 over kept rows, 2 also over inner rows, 3 over vectors but not
 * over inner rows, 4 over all of them.
 */
export type Level = 0 | 1 | 2 | 3 | 4;

/** Writes the nodes of one expression list. */
export class NodeWriter {
  readonly #math: VectorMath;
  /** For each node the values of its vectors, or one value for all. */
  readonly #values: readonly Lanes[][];
  readonly #levels: readonly Level[];

  constructor(readonly streams: Streams, readonly nodes: readonly Node[]) {
    this.#math = new VectorMath(streams.f);
    this.#values = nodes.map((): Lanes[] => []);
    this.#levels = levelsOf(streams.nest, nodes);
    // Streams must exist before the loops, which advance them.
    for (const node of nodes) {
      if (node.kind === "load") streams.of(node.input, node.view);
      else if (node.kind === "iota" || node.kind === "randomBits") streams.indices(node.view);
    }
  }

  /** The value of a node, in one vector of those that a loop body computes. */
  value(index: number, vector: number): Lanes {
    const values = this.#values[index];
    const value = values[this.#levels[index] < 3 ? 0 : vector];
    if (value === undefined) throw new Error(`node ${index} is used before it is written`);
    return value;
  }

  /** Evaluates the nodes that change at `level`, for one vector of which the first `lanes` lanes are needed. */
  write(level: Level, vector = 0, lanes: number = LANES): void {
    for (const [index, node] of this.nodes.entries()) {
      if (this.#levels[index] === level) {
        this.#values[index][vector] = this.#evaluate(node, vector, lanes, []);
      }
    }
  }

  /** Evaluates all nodes for one vector. */
  writeAll(vector: number, lanes: number, reduced: readonly Lanes[]): void {
    for (const [index, node] of this.nodes.entries()) {
      this.#values[index][this.#levels[index] < 3 ? 0 : vector] = this.#evaluate(
        node,
        vector,
        lanes,
        reduced,
      );
    }
  }

  #evaluate(node: Node, vector: number, lanes: number, reduced: readonly Lanes[]): Lanes {
    if (node.kind === "constant") return constant(this.#math, node.value, node.dtype);
    if (node.kind === "reduced") return reduced[node.index];
    const value = this.#expression(node, vector, lanes);
    const from = "args" in node ? this.nodes[node.args[0]].dtype : undefined;
    return this.#math.keep(isRounded(node, from) ? this.#math.roundBf16(value) : value);
  }

  /** The value of a node that is a constant other than NaN. */
  #number(index: number): number | undefined {
    const node = this.nodes[index];
    if (node.kind !== "constant" || Number.isNaN(node.value)) return undefined;
    return node.dtype === "bf16" ? roundBf16(node.value) : node.value;
  }

  #expression(node: Exclude<Node, { kind: "constant" | "reduced" }>, vector: number, lanes: number): V128 {
    const { streams } = this;
    const { f, nest } = streams;
    const math = this.#math;
    const value = (index: number) => this.value(index, vector);
    switch (node.kind) {
      case "load": {
        const stream = streams.of(node.input, node.view);
        return decode(f, readVector(f, stream, vector, lanes), node.dtype, nest.elementBytes[node.input]);
      }
      case "iota": {
        const index = indexVector(f, streams.indices(node.view), vector);
        return node.dtype === "f32" ? f32x4.fromI32(index) : index;
      }
      case "randomBits": {
        const key = streams.operands[node.key];
        const index = indexVector(f, streams.indices(node.view), vector);
        return math.threefry(v128.load32Splat(key), v128.load32Splat(key, 4), index, node.word);
      }
      case "unary":
        return unary(math, node.fn, this.nodes[node.args[0]].dtype, value(node.args[0]));
      case "binary": {
        const [a, b] = node.args;
        if ((node.fn === "max" || node.fn === "min") && isFloat(node.dtype)) {
          const [first, second] = [this.#number(a), this.#number(b)];
          if (second !== undefined) return boundedBy(math, node.fn, value(a), second);
          if (first !== undefined) return boundedBy(math, node.fn, value(b), first);
        }
        return binary(math, node.fn, node.dtype, value(a), value(b));
      }
      case "compare": {
        const [a, b] = node.args;
        return compare(math, node.fn, this.nodes[a].dtype, value(a), value(b));
      }
      case "select": {
        const [condition, a, b] = node.args;
        return math.select(value(condition), value(a), value(b));
      }
      case "cast":
        return cast(math, this.nodes[node.args[0]].dtype, node.dtype, value(node.args[0]));
    }
  }
}

function constant(math: VectorMath, value: number, dtype: Node["dtype"]): Lanes {
  if (dtype === "f32") return math.float(value);
  if (dtype === "bf16") return math.float(roundBf16(value));
  if (dtype === "bool") return math.integer(value !== 0 ? -1 : 0);
  return math.integer(value | 0);
}

/** The level of each node of a list. */
export function levelsOf(nest: Nest, nodes: readonly Node[]): readonly Level[] {
  const levels: Level[] = [];
  for (const node of nodes) {
    if (hasView(node)) levels.push(levelOfView(nest, node.view.strides));
    else if (node.kind === "reduced") levels.push(4);
    else levels.push("args" in node ? node.args.map((arg) => levels[arg]).reduce(joined) : 0);
  }
  return levels;
}

/** The level of a value that changes at two levels. */
function joined(a: Level, b: Level): Level {
  const most = Math.max(a, b) as Level;
  return most === 3 && Math.min(a, b) === 2 ? 4 : most;
}

function levelOfView({ space, reduced }: Nest, strides: readonly number[]): Level {
  const last = space.length - 1;
  return strides.map((stride, axis): Level => {
    if (stride === 0) return 0;
    if (axis === last) return 3;
    return reduced[axis] ? 2 : 1;
  }).reduce(joined, 0);
}

/** The approximate number of instructions that one vector of a node takes. */
export function costOf(node: Node): number {
  return costInF32(node) + (isRounded(node, undefined) ? 7 : 0);
}

function costInF32(node: Node): number {
  switch (node.kind) {
    case "constant":
    case "reduced":
      return 0;
    case "randomBits":
      return 110;
    case "unary":
      return {
        exp: 20,
        log: 30,
        sin: 60,
        cos: 60,
        tanh: 40,
        erf: 20,
        sqrt: 5,
        rsqrt: 10,
      }[node.fn as string] ?? 1;
    case "binary":
      return { pow: 60, rem: 60, div: 5 }[node.fn as string] ?? 1;
    default:
      return 1;
  }
}
