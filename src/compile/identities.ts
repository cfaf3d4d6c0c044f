import { type Aval, type DType, isFloat } from "../trace/dtype.ts";
import type { BinaryFn } from "../trace/ops.ts";
import type { ValueId } from "../trace/program.ts";
import { made, type Simplified, splat, splatOf } from "./simplified.ts";

/** Rewrites x + 0, x × 1 and the like; undefined if no identity applies. Results keep their bits. */
export function applyIdentity(
  s: Simplified,
  a: ValueId,
  b: ValueId,
  fn: BinaryFn,
  result: Aval,
): ValueId | undefined {
  const [x, y] = [splatOf(s, a), splatOf(s, b)];
  const { dtype } = result;
  switch (fn) {
    case "add": {
      if (y !== undefined && isAddedZero(s, y, a, dtype)) return a;
      if (x !== undefined && isAddedZero(s, x, b, dtype)) return b;
      const [p, q] = [negated(s, a), negated(s, b)];
      if (q !== undefined) return s.emit("binary", [a, q], { fn: "sub" });
      return p === undefined ? undefined : s.emit("binary", [b, p], { fn: "sub" });
    }
    case "sub": {
      if (y !== undefined && isAddedZero(s, -y, a, dtype)) return a;
      const q = negated(s, b);
      return q === undefined ? undefined : s.emit("binary", [a, q], { fn: "add" });
    }
    case "mul":
      if (y === 1) return a;
      if (x === 1) return b;
      if (dtype !== "u32" && (y === -1 || x === -1)) {
        return s.emit("unary", [y === -1 ? a : b], { fn: "neg" });
      }
      return !isFloat(dtype) && (x === 0 || y === 0) ? splat(s, 0, result) : undefined;
    case "div":
      if (y === 1) return a;
      // Only the reciprocal of a power of two is exact.
      return dtype === "f32" && y !== undefined && isPowerOfTwo(y)
        ? s.emit("binary", [a, splat(s, 1 / y, result)], { fn: "mul" })
        : undefined;
    case "pow": // also because WGSL has no powers of negative numbers
      if (y === 1) return a;
      if (y === 2) return s.emit("binary", [a, a], { fn: "mul" });
      return y === 3
        ? s.emit("binary", [s.emit("binary", [a, a], { fn: "mul" }), a], { fn: "mul" })
        : undefined;
    case "max":
    case "min":
    case "and":
    case "or":
      return a === b ? a : undefined;
    case "xor":
    case "shl":
    case "shr":
      return y === 0 ? a : undefined;
    case "rem":
      return undefined;
    default:
      return fn satisfies never;
  }
}

/** Returns x if the value is −x. */
function negated(s: Simplified, value: ValueId): ValueId | undefined {
  const maker = made(s, value, "unary");
  return maker?.attrs.fn === "neg" ? maker.inputs[0] : undefined;
}

/** Tests whether adding `zero` leaves every bit of x: −0 always does, +0 unless x may be −0. */
function isAddedZero(s: Simplified, zero: number, x: ValueId, dtype: DType): boolean {
  if (zero !== 0) return false;
  return !isFloat(dtype) || Object.is(zero, -0) || isNeverMinusZero(s, x);
}

function isNeverMinusZero(s: Simplified, value: ValueId): boolean {
  const maker = s.maker(value);
  switch (maker?.op) {
    case "iota":
      return true;
    case "cast": // of an integer; a cast of a float keeps the sign
      return !isFloat(s.aval(maker.inputs[0]).dtype) || isNeverMinusZero(s, maker.inputs[0]);
    case "unary":
      return maker.attrs.fn === "abs" || maker.attrs.fn === "exp";
    case "reduce":
      return maker.attrs.fn === "sum"; // a sum starts from +0
    case "constant":
      return maker.attrs.values.every((x) => !Object.is(x, -0));
    case "broadcast":
    case "reshape":
    case "transpose":
    case "slice":
      return isNeverMinusZero(s, maker.inputs[0]);
    default:
      return false;
  }
}

function isPowerOfTwo(value: number): boolean {
  const exponent = Math.log2(Math.abs(value));
  return Number.isInteger(exponent) && Math.abs(exponent) < 126;
}
