import { at } from "../../base/at.ts";
import type { Node, View } from "../../compile/kernel.ts";
import { roundBf16 } from "../../trace/bf16.ts";
import { type DType, isFloat } from "../../trace/dtype.ts";
import type { BinaryFn, CompareFn, ReduceFn, UnaryFn } from "../../trace/ops.ts";
import { identityOf } from "../identity.ts";

/** The type of each dtype in memory; a bool is a word of 0 or 1. */
export const typeOf: { readonly [D in DType]: string } = {
  f32: "float",
  bf16: "bf16",
  i32: "int",
  u32: "u32",
  bool: "u32",
  u8: "u8",
};

/** The type of a variable: float for bf16, to which each result is rounded. */
const workingType = (dtype: DType): string => dtype === "bf16" ? "float" : typeOf[dtype];

/** Converts an element in memory to a variable. */
export const read = (x: string, dtype: DType): string => dtype === "bf16" ? `widen(${x})` : x;

/** Converts a variable to an element in memory. */
export const written = (x: string, dtype: DType): string => dtype === "bf16" ? `narrow<bf16>(${x})` : x;

/** A literal of a dtype. */
function literal(value: number, dtype: DType): string {
  switch (dtype) {
    case "f32": {
      const f = Math.fround(value);
      if (!Number.isFinite(f)) return `from_bits(${new Uint32Array(Float32Array.of(f).buffer)[0]}u)`;
      const text = Object.is(f, -0) ? "-0" : String(f);
      return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
    }
    case "bf16":
      return literal(roundBf16(value), "f32");
    case "bool":
      return value !== 0 ? "1u" : "0u";
    case "i32": // the minimum has no literal of type int
      return value === -(2 ** 31) ? "(-2147483647 - 1)" : String(value | 0);
    default:
      return `${value >>> 0}u`;
  }
}

/** The surroundings of a list of nodes: prints its loads, indices and reductions. */
export interface Context {
  /** An element of an input, in its own dtype, as a variable. */
  load(node: number, input: number, view: View): string;
  /** The dtype of an input. */
  dtype(input: number): DType;
  /** An affine index, as u32. */
  index(view: View): string;
  /** A word of a key. */
  key(input: number, word: 0 | 1): string;
  /** The result of a reduction. */
  reduced(index: number): string;
}

/** Prints a list of nodes as one constant each, named `prefix0`, `prefix1` …. */
export function printNodes(nodes: readonly Node[], prefix: string, context: Context): string[] {
  return nodes.map((node, i) =>
    `const ${workingType(node.dtype)} ${prefix}${i} = ${print(node, i, nodes, prefix, context)};`
  );
}

/** Functions whose result on bf16 operands is always a bf16, so that it needs no rounding. */
const exact: ReadonlySet<UnaryFn | BinaryFn> = new Set(["neg", "abs", "sign", "floor", "max", "min", "rem"]);

const rounded = (x: string, node: Extract<Node, { fn: UnaryFn | BinaryFn }>): string =>
  node.dtype === "bf16" && !exact.has(node.fn) ? `rounded(${x})` : x;

function print(node: Node, index: number, nodes: readonly Node[], prefix: string, context: Context): string {
  const arg = (i: number) => `${prefix}${i}`;
  switch (node.kind) {
    case "load":
      return convert(context.load(index, node.input, node.view), context.dtype(node.input), node.dtype);
    case "constant":
      return literal(node.value, node.dtype);
    case "iota":
      return convert(context.index(node.view), "u32", node.dtype);
    case "randomBits":
      return `random_bits(${context.key(node.key, 0)}, ${context.key(node.key, 1)}, ${
        context.index(node.view)
      }, ${node.word}u)`;
    case "unary":
      return rounded(unaryTable[node.fn](arg(node.args[0]), at(nodes, node.args[0]).dtype), node);
    case "binary":
      return rounded(binaryTable[node.fn](arg(node.args[0]), arg(node.args[1]), node.dtype), node);
    case "compare":
      return `${arg(node.args[0])} ${comparisons[node.fn]} ${arg(node.args[1])} ? 1u : 0u`;
    case "select":
      return `${arg(node.args[0])} ? ${arg(node.args[1])} : ${arg(node.args[2])}`;
    case "cast":
      return convert(arg(node.args[0]), at(nodes, node.args[0]).dtype, node.dtype);
    case "reduced":
      return context.reduced(node.index);
  }
}

/** Converts between dtypes. */
function convert(x: string, from: DType, to: DType): string {
  if (from === to || (from === "bf16" && to === "f32")) return x;
  if (to === "bf16") return from === "bool" ? `(float)${x}` : `rounded((float)(${x}))`;
  if (to === "bool") return `${x} != 0 ? 1u : 0u`;
  if (isFloat(from)) return `to_${to}(${x})`;
  return `(${typeOf[to]})(${x})`;
}

const call = (name: string) => (x: string): string => `${name}(${x})`;

const unaryTable: { readonly [F in UnaryFn]: (x: string, dtype: DType) => string } = {
  neg: (x, dtype) => dtype === "i32" ? `subtract(0, ${x})` : `-${x}`,
  abs: (x, dtype) => dtype === "i32" ? `(${x} < 0 ? subtract(0, ${x}) : ${x})` : `fabsf(${x})`,
  sign: call("sign"),
  floor: call("floorf"),
  exp: call("expf"),
  log: call("logf"),
  sqrt: call("sqrtf"),
  rsqrt: call("reciprocal_root"),
  sin: call("sinf"),
  cos: call("cosf"),
  tanh: call("tanhf"),
  erf: call("erff"),
  not: (x, dtype) => dtype === "bool" ? `${x} ^ 1u` : `~${x}`,
  isFinite: call("is_finite"),
};

type Binary = (a: string, b: string, dtype: DType) => string;
/** An operator; on i32, where overflow is undefined, a function of the dialect. */
const arithmetic = (operator: string, name: string): Binary => (a, b, dtype) =>
  dtype === "i32" ? `${name}(${a}, ${b})` : `${a} ${operator} ${b}`;
const both = (name: string): Binary => (a, b) => `${name}(${a}, ${b})`;
const infix = (operator: string): Binary => (a, b) => `${a} ${operator} ${b}`;

const binaryTable: { readonly [F in BinaryFn]: Binary } = {
  add: arithmetic("+", "add"),
  sub: arithmetic("-", "subtract"),
  mul: arithmetic("*", "multiply"),
  div: both("divide"),
  pow: both("powf"),
  max: both("greater"),
  min: both("lesser"),
  rem: both("remainder_of"),
  and: infix("&"),
  or: infix("|"),
  xor: infix("^"),
  shl: (a, b, dtype) => `(${typeOf[dtype]})((u32)${a} << ((u32)${b} & 31u))`,
  shr: (a, b) => `${a} >> ((u32)${b} & 31u)`,
};

const comparisons: { readonly [F in CompareFn]: string } = {
  eq: "==",
  ne: "!=",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};

/** The literal that a reduction starts from. */
export function reductionStart(fn: ReduceFn, dtype: DType): string {
  return literal(identityOf(fn, dtype), dtype);
}

/** The dialect's type that folds two elements. */
export const foldType: { readonly [F in ReduceFn]: string } = { sum: "Sum", max: "Max", min: "Min" };
