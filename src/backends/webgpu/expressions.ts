import type { Node, View } from "../../compile/kernel.ts";
import { type DType, isFloat } from "../../trace/dtype.ts";
import type { BinaryFn, CompareFn, ReduceFn, UnaryFn } from "../../trace/ops.ts";
import functionsText from "../../../kernels/webgpu/functions.wgsl" with { type: "text" };
import { specialise } from "./template.ts";

/** Elements an invocation works on at once, along the last axis of its space. */
export type Width = 1 | 4;

/** The WGSL type of a value while it is worked on (bool is a bool, not a word). */
export function typeName(dtype: DType, width: Width): string {
  const element = dtype === "u8" ? "u32" : dtype;
  return width === 1 ? element : `vec4<${element}>`;
}

/** A literal of a dtype, of `width` equal elements. */
export function literal(value: number, dtype: DType, width: Width): string {
  const type = typeName(dtype, width);
  switch (dtype) {
    case "f32": {
      const f = Math.fround(value);
      // WGSL has no literals for infinities and NaN, and refuses constant expressions that make one.
      if (!Number.isFinite(f)) {
        const bits = new Uint32Array(Float32Array.of(f).buffer)[0];
        return `${type}(from_bits(${bits}u))`;
      }
      const text = Object.is(f, -0) ? "-0" : String(f);
      return `${type}(${/[.e]/.test(text) ? text : `${text}.0`})`; // a whole number may be too large for an integer's literal
    }
    case "bool":
      return `${type}(${value !== 0})`;
    case "i32":
      return `${type}(${value | 0})`;
    default:
      return `${type}(${value >>> 0}u)`;
  }
}

/** Functions of functions.wgsl that a kernel calls, by width. */
export class Functions {
  readonly #used: { readonly [W in Width]: Set<string> } = { 1: new Set(), 4: new Set() };

  /** The name to call a function by. */
  use(name: string, width: Width): string {
    this.#used[width].add(name);
    if (name === "pow") this.#used[width].add("exp").add("log").add("is_finite");
    return `${name}_${width}`;
  }

  /** Definitions of those used. */
  text(): string {
    const parts = ["fn from_bits(bits: u32) -> f32 { return bitcast<f32>(bits); }"];
    for (const width of [1, 4] as const) {
      if (this.#used[width].size === 0) continue;
      const wanted = Object.fromEntries(helpers.map((name) => [name, this.#used[width].has(name)]));
      const types = { T: "f32", I: "i32", U: "u32", B: "bool" } as const;
      for (const [name, dtype] of Object.entries(types)) wanted[name] = typeName(dtype, width) as never;
      parts.push(specialise(functionsText, { ...wanted, WIDTH: width }).replace(/^\/\/.*\n/gm, ""));
    }
    return parts.join("\n");
  }
}

const helpers = ["is_finite", "log", "exp", "tanh", "pow", "to_i32", "to_u32", "threefry"] as const;

/** Where a list of nodes is printed: how loads, indices and reductions look there. */
export interface Context {
  /** Elements at once. */
  readonly width: Width;
  /** Functions called. */
  readonly functions: Functions;
  /** An element of an input, as `dtype`. */
  load(input: number, view: View, dtype: DType): string;
  /** An affine index, as u32 of `width` elements. */
  index(view: View): string;
  /** The two words of a key. */
  key(input: number): readonly [string, string];
  /** The result of a reduction. */
  reduced(index: number): string;
}

/** Prints a list of nodes, or those that are `wanted`, as one `let` each, named `prefix0`, `prefix1` …. */
export function printNodes(
  nodes: readonly Node[],
  prefix: string,
  context: Context,
  wanted: (index: number) => boolean = () => true,
): string[] {
  return nodes.flatMap((node, i) =>
    wanted(i) ? [`let ${prefix}${i} = ${print(node, nodes, prefix, context)};`] : []
  );
}

function print(node: Node, nodes: readonly Node[], prefix: string, context: Context): string {
  const { width, functions } = context;
  const arg = (i: number) => `${prefix}${i}`;
  switch (node.kind) {
    case "load":
      return context.load(node.input, node.view, node.dtype);
    case "constant":
      return literal(node.value, node.dtype, width);
    case "iota":
      return convert(context.index(node.view), "u32", node.dtype, context);
    case "randomBits":
      return `${functions.use("threefry", width)}(${context.key(node.key).join(", ")}, ${
        context.index(node.view)
      })`;
    case "unary":
      return unaryTable[node.fn](arg(node.args[0]), nodes[node.args[0]].dtype, context);
    case "binary":
      return binaryTable[node.fn](arg(node.args[0]), arg(node.args[1]), node.dtype, context);
    case "compare": {
      const dtype = nodes[node.args[0]].dtype;
      const [a, b] = node.args.map((i) =>
        dtype === "bool" && width === 1
          ? `u32(${arg(i)})`
          : dtype === "bool"
          ? `vec4<u32>(${arg(i)})`
          : arg(i)
      );
      // WGSL's != may be false of a NaN; not == is true.
      return node.fn === "ne" ? `!(${a} == ${b})` : `${a} ${comparisons[node.fn]} ${b}`;
    }
    case "select":
      return `select(${arg(node.args[2])}, ${arg(node.args[1])}, ${arg(node.args[0])})`;
    case "cast":
      return convert(arg(node.args[0]), nodes[node.args[0]].dtype, node.dtype, context);
    case "reduced":
      return context.reduced(node.index);
  }
}

/** Converts between dtypes. */
export function convert(
  x: string,
  from: DType,
  to: DType,
  { width, functions }: Pick<Context, "width" | "functions">,
): string {
  if (from === to) return x;
  const type = typeName(to, width);
  if (to === "bool") return `!(${x} == ${literal(0, from, width)})`;
  if (from === "f32" && (to === "i32" || to === "u32")) return `${functions.use(`to_${to}`, width)}(${x})`;
  return `${type}(${x})`;
}

const plain = (name: string) => (x: string): string => `${name}(${x})`;
const helper = (name: string) => (x: string, _: DType, { width, functions }: Context): string =>
  `${functions.use(name, width)}(${x})`;

const unaryTable: { readonly [F in UnaryFn]: (x: string, dtype: DType, context: Context) => string } = {
  neg: (x) => `-${x}`,
  abs: plain("abs"),
  sign: plain("sign"),
  floor: plain("floor"),
  exp: helper("exp"),
  log: helper("log"),
  sqrt: plain("sqrt"),
  rsqrt: plain("inverseSqrt"),
  sin: plain("sin"),
  cos: plain("cos"),
  tanh: helper("tanh"),
  not: (x, dtype) => dtype === "bool" ? `!${x}` : `~${x}`,
  isFinite: helper("is_finite"),
};

type Binary = (a: string, b: string, dtype: DType, context: Context) => string;
const infix = (operator: string): Binary => (a, b) => `${a} ${operator} ${b}`;
const shift = (operator: string): Binary => (a, b, _, { width }) =>
  `${a} ${operator} (${typeName("u32", width)}(${b}) & ${literal(31, "u32", width)})`;

/** What an integer may be divided by: 1 in place of 0, which not every driver divides by as WGSL has it. */
const divisor = (b: string, dtype: DType, width: Width): string =>
  isFloat(dtype) ? b : `select(${b}, ${literal(1, dtype, width)}, ${b} == ${literal(0, dtype, width)})`;

const binaryTable: { readonly [F in BinaryFn]: Binary } = {
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: (a, b, dtype, { width }) => `${a} / ${divisor(b, dtype, width)}`,
  pow: (a, b, _, { width, functions }) => `${functions.use("pow", width)}(${a}, ${b})`,
  max: (a, b) => `max(${a}, ${b})`,
  min: (a, b) => `min(${a}, ${b})`,
  // WebGPU over OpenGL leaves `%` undefined for a negative integer.
  rem: (a, b, dtype, { width }) => {
    const by = divisor(b, dtype, width);
    return dtype === "i32" ? `${a} - ${a} / ${by} * ${by}` : `${a} % ${by}`;
  },
  and: infix("&"),
  or: infix("|"),
  xor: (a, b, dtype) => dtype === "bool" ? `${a} != ${b}` : `${a} ^ ${b}`,
  shl: shift("<<"),
  shr: shift(">>"),
};

const comparisons: { readonly [F in Exclude<CompareFn, "ne">]: string } = {
  eq: "==",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};

/** What a reduction starts from. */
export function reductionStart(fn: ReduceFn, dtype: DType, width: Width): string {
  if (fn === "sum") return literal(0, dtype, width);
  const [least, greatest] = dtype === "f32"
    ? [-Infinity, Infinity]
    : dtype === "i32"
    ? [-(2 ** 31), 2 ** 31 - 1]
    : [0, 2 ** 32 - 1];
  return literal(fn === "max" ? least : greatest, dtype, width);
}

/** Takes one more element into a reduction. */
export function fold(fn: ReduceFn, a: string, b: string): string {
  return fn === "sum" ? `${a} + ${b}` : `${fn}(${a}, ${b})`;
}
