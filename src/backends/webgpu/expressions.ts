import { at } from "../../base/at.ts";
import type { Node, View } from "../../compile/kernel.ts";
import type { DType } from "../../trace/dtype.ts";
import type { BinaryFn, CompareFn, ReduceFn, UnaryFn } from "../../trace/ops.ts";
import { identityOf } from "../identity.ts";
import { type FunctionName, type Functions, type Lanes, typeName } from "./functions.ts";

/** A literal of a dtype, repeated `lanes` times. */
export function literal(value: number, dtype: DType, lanes: Lanes): string {
  const type = typeName(dtype, lanes);
  switch (dtype) {
    case "f32": {
      const f = Math.fround(value);
      // WGSL has no literals for infinities and NaN, and rejects constant expressions that evaluate to one. Compilers
      // replace x * 0 by 0 for every x and treat code after x / 0 as unreachable; so zeros are hidden from them too.
      if (f === 0 || !Number.isFinite(f)) {
        const bits = new Uint32Array(Float32Array.of(f).buffer)[0];
        return `${type}(from_bits(${bits}u))`;
      }
      const text = String(f);
      return `${type}(${/[.e]/.test(text) ? text : `${text}.0`})`; // without a point, a large number would be an integer literal out of range
    }
    case "bool":
      return `${type}(${value !== 0})`;
    case "i32":
      return `${type}(${value | 0})`;
    default:
      return `${type}(${value >>> 0}u)`;
  }
}

/** The context in which nodes are printed: the text of loads, indices and reductions. */
export interface Context {
  /** The elements that one invocation computes at once. */
  readonly lanes: Lanes;
  /** The functions that the nodes call. */
  readonly functions: Functions;
  /** An element of an input, as `dtype`. */
  load(input: number, view: View, dtype: DType): string;
  /** An affine index, as u32 of `lanes` elements. */
  index(view: View): string;
  /** The two words of a key. */
  key(input: number): readonly [string, string];
  /** The result of a reduction. */
  reduced(index: number): string;
}

/** Prints nodes as one `let` each, named `prefix0`, `prefix1` …; only those that pass `wanted`, all by default. */
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
  const { lanes, functions } = context;
  const arg = (i: number) => `${prefix}${i}`;
  const operand = (i: number): Operand => {
    const node = at(nodes, i);
    const constant = node.kind === "constant" ? node.value : undefined;
    return { text: arg(i), index: i, dtype: node.dtype, constant };
  };
  switch (node.kind) {
    case "load":
      return context.load(node.input, node.view, node.dtype);
    case "constant":
      return literal(node.value, node.dtype, lanes);
    case "iota":
      return convert(context.index(node.view), "u32", node.dtype, context);
    case "randomBits":
      return `${functions.use("threefry", lanes)}(${context.key(node.key).join(", ")}, ${
        context.index(node.view)
      }, ${node.word}u)`;
    case "unary":
      return unaryTable[node.fn](arg(node.args[0]), at(nodes, node.args[0]).dtype, context);
    case "binary":
      return binaryTable[node.fn](operand(node.args[0]), operand(node.args[1]), node.dtype, context);
    case "compare":
      return compare(node.fn, operand(node.args[0]), operand(node.args[1]), context);
    case "select":
      return `select(${arg(node.args[2])}, ${arg(node.args[1])}, ${arg(node.args[0])})`;
    case "cast":
      return convert(arg(node.args[0]), at(nodes, node.args[0]).dtype, node.dtype, context);
    case "reduced":
      return context.reduced(node.index);
  }
}

/** An operand of a binary function or comparison. */
interface Operand {
  readonly text: string;
  /** The index of its node. */
  readonly index: number;
  readonly dtype: DType;
  /** Its value, if it is a constant. */
  readonly constant: number | undefined;
}

type Writing = Pick<Context, "lanes" | "functions">;

/** Tests whether an operand may be NaN. */
const mayBeNaN = ({ dtype, constant }: Operand): boolean =>
  dtype === "f32" && (constant === undefined || Number.isNaN(constant));

/** A comparison: false if an operand is NaN, except for `ne`, which is then true. */
function compare(fn: CompareFn, a: Operand, b: Operand, { lanes, functions }: Writing): string {
  const word = ({ text, dtype }: Operand) => dtype === "bool" ? `${typeName("u32", lanes)}(${text})` : text;
  const unordered = (a.index === b.index ? [a] : [a, b]).filter(mayBeNaN)
    .map(({ text }) => `${functions.use("is_nan", lanes)}(${text})`);
  const plain = `(${word(a)} ${comparisons[fn === "ne" ? "eq" : fn]} ${word(b)})`;
  const value = unordered.length === 0 ? plain : `(${plain} & !(${unordered.join(" | ")}))`;
  return fn === "ne" ? `!${value}` : value;
}

/** Converts between dtypes. */
export function convert(x: string, from: DType, to: DType, { lanes, functions }: Writing): string {
  if (from === to) return x;
  const type = typeName(to, lanes);
  if (to === "bool" && from === "f32") { // a NaN is not 0
    const bits = typeName("u32", lanes);
    return `((bitcast<${bits}>(${x}) & ${bits}(0x7fffffffu)) != ${bits}(0u))`;
  }
  if (to === "bool") return `(${x} != ${literal(0, from, lanes)})`;
  if (from === "f32" && (to === "i32" || to === "u32")) return `${functions.use(`to_${to}`, lanes)}(${x})`;
  return `${type}(${x})`;
}

const plain = (name: string) => (x: string): string => `${name}(${x})`;
const helper = (name: FunctionName) => (x: string, _: DType, { lanes, functions }: Context): string =>
  `${functions.use(name, lanes)}(${x})`;

const unaryTable: { readonly [F in UnaryFn]: (x: string, dtype: DType, context: Context) => string } = {
  neg: (x) => `-${x}`,
  abs: plain("abs"),
  sign: (x, dtype, context) => (dtype === "f32" ? helper("sign") : plain("sign"))(x, dtype, context),
  floor: plain("floor"),
  exp: helper("exp"),
  log: helper("log"),
  sqrt: plain("sqrt"),
  rsqrt: plain("inverseSqrt"),
  sin: helper("sin"),
  cos: helper("cos"),
  tanh: helper("tanh"),
  erf: helper("erf"),
  not: (x, dtype) => dtype === "bool" ? `!${x}` : `~${x}`,
  isFinite: helper("is_finite"),
};

type Binary = (a: Operand, b: Operand, dtype: DType, context: Context) => string;
const infix = (operator: string): Binary => (a, b) => `${a.text} ${operator} ${b.text}`;
const shift = (operator: string): Binary => (a, b, _, { lanes }) =>
  `${a.text} ${operator} (${typeName("u32", lanes)}(${b.text}) & ${literal(31, "u32", lanes)})`;

/** An integer divisor, with 1 in place of 0: not every driver divides by 0 as WGSL specifies. */
const divisor = ({ text }: Operand, dtype: DType, lanes: Lanes): string =>
  `select(${text}, ${literal(1, dtype, lanes)}, ${text} == ${literal(0, dtype, lanes)})`;

/** A number hidden from the compiler; see functions.wgsl. */
const hidden = ({ text }: Operand, { lanes, functions }: Context): string =>
  `${functions.use("hidden", lanes)}(${text})`;

/** The maximum or minimum; NaN if either operand is. */
const extreme = (fn: "max" | "min"): Binary => (a, b, _, { lanes, functions }) => {
  const [one, other] = [a, b].filter(mayBeNaN);
  if (other !== undefined) return `${functions.use(fn, lanes)}(${a.text}, ${b.text})`;
  const value = `${fn}(${a.text}, ${b.text})`;
  return one === undefined ? value : `${functions.use("keep_nan", lanes)}(${one.text}, ${value})`;
};

const binaryTable: { readonly [F in BinaryFn]: Binary } = {
  add: infix("+"),
  sub: (a, b, dtype, context) =>
    `${a.text} - ${dtype === "f32" && a.index === b.index ? hidden(b, context) : b.text}`,
  mul: infix("*"),
  div: (a, b, dtype, context) => {
    if (dtype !== "f32") return `${a.text} / ${divisor(b, dtype, context.lanes)}`;
    return `${a.text} / ${b.constant === undefined ? hidden(b, context) : b.text}`;
  },
  pow: (a, b, _, { lanes, functions }) => `${functions.use("pow", lanes)}(${a.text}, ${b.text})`,
  max: extreme("max"),
  min: extreme("min"),
  rem: (a, b, dtype, { lanes, functions }) => {
    if (dtype === "f32") return `${functions.use("rem", lanes)}(${a.text}, ${b.text})`;
    const by = divisor(b, dtype, lanes);
    // WebGPU over OpenGL leaves `%` undefined for a negative integer.
    return dtype === "i32" ? `${a.text} - ${a.text} / ${by} * ${by}` : `${a.text} % ${by}`;
  },
  and: infix("&"),
  or: infix("|"),
  xor: (a, b, dtype) => dtype === "bool" ? `${a.text} != ${b.text}` : `${a.text} ^ ${b.text}`,
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

/** The start value of a reduction. */
export function reductionStart(fn: ReduceFn, dtype: DType, lanes: Lanes): string {
  if (fn === "sum") return `${typeName(dtype, lanes)}()`;
  return literal(identityOf(fn, dtype), dtype, lanes);
}

/** Folds one more element into a reduction. */
export function fold(
  fn: ReduceFn,
  a: string,
  b: string,
  dtype: DType,
  { lanes, functions }: Writing,
): string {
  if (fn === "sum") return `${a} + ${b}`;
  return `${dtype === "f32" ? functions.use(fn, lanes) : fn}(${a}, ${b})`;
}
