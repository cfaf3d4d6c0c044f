import type { I32 } from "./wasm/expressions.ts";
import { f32, f64, i32, i64 } from "./wasm/scalars.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";

// Remainders that are exact however large the quotient is, one number at a time.

/** 240 bits of 2/π after 16 zeros, in four words. */
const TWO_OVER_PI = [
  0x0000a2f9836e4e44n,
  0x1529fc2757d1f534n,
  0xddc0db6295993c43n,
  0x9041fe5163abdebbn,
].map((word) => i64.constant(BigInt.asIntN(64, word)));

/** The least biased exponent that {@link quarterTurns} accepts: that of 2¹³. */
export const LEAST_EXPONENT = 127 + 13;

/** An angle in quarter turns. */
export interface Turns {
  /** Whole quarter turns, modulo 4. */
  readonly quarters: I32;
  /** The remainder, in radians from −π/4 to π/4. */
  readonly rest: Local<"f64">;
}

/**
 * Reduces an angle of at least 2¹³ to quarter turns and a remainder. `bits` are the bits of its f32 without the sign,
 * `exponent` its biased exponent. The angle is m·2ᵉ with an integer m < 2²⁴. Bits of 2/π whose product with 2ᵉ is a
 * multiple of 4 do not matter; the next 96 give the remainder to 2⁻⁶⁰ (M. Payne and R. Hanek, SIGNUM Newsletter 18(1),
 * 1983).
 */
export function quarterTurns(f: FunctionBuilder, bits: Local<"i32">, exponent: Local<"i32">): Turns {
  const mantissa = f.local("i64", i64.fromI32(i32.or(i32.and(bits, 0x007fffff), 0x00800000)));
  // The first bit that matters, and the 128 bits from there.
  const first = f.int(i32.sub(exponent, LEAST_EXPONENT - 4));
  const [far, within] = [i32.geU(first, 64), f.local("i64", i64.fromI32(i32.and(first, 63)))];
  const words = [0, 1, 2].map((i) => f.local("i64", i64.select(TWO_OVER_PI[i + 1], TWO_OVER_PI[i], far)));
  const [high, low] = [0, 1].map((i) => {
    const next = i64.shrU(i64.shrU(words[i + 1], i64.constant(1n)), i64.sub(i64.constant(63n), within));
    return i64.or(i64.shl(words[i], within), next);
  });
  // In units of 2⁻⁶² quarter turns, modulo 4.
  const lower = i64.mul(mantissa, i64.shrU(low, i64.constant(32n)));
  const turned = f.local(
    "i64",
    i64.add(i64.mul(mantissa, high), i64.shrU(lower, i64.constant(32n))),
  );
  const quarters = f.local("i64", i64.shrU(i64.add(turned, i64.constant(2n ** 61n)), i64.constant(62n)));
  const rest = f64.fromI64(i64.sub(turned, i64.shl(quarters, i64.constant(62n))));
  return {
    quarters: i32.wrap(quarters),
    rest: f.local("f64", f64.mul(rest, f64.constant(Math.PI / 2 * 2 ** -62))),
  };
}

/** Masks the last 24 bits of an f64's mantissa, which leaves 29 with the implicit one. */
const LEADING_BITS = i64.constant(-(2n ** 24n));

/**
 * x − y·trunc(x / y), exact, with the sign of x. Each step subtracts y times the leading 29 bits of the quotient: the
 * product has 53 bits, which an f64 represents exactly. The caller must handle a NaN in y.
 */
export function remainder(f: FunctionBuilder, x: Local<"f32">, y: Local<"f32">): Local<"f32"> {
  const dividend = f.local("f64", f64.fromF32(x));
  const divisor = f.local("f64", f64.abs(f64.fromF32(y)));
  const rest = f.local("f64", f64.abs(dividend));
  f.while(f64.ge(f64.abs(rest), divisor), () => {
    const leading = f64.fromBits(i64.and(i64.bits(f64.div(rest, divisor)), LEADING_BITS));
    f.set(rest, f64.sub(rest, f64.mul(f64.trunc(leading), divisor)));
  });
  // A quotient that was rounded up to an integer leaves a negative rest.
  f.if(f64.lt(rest, f64.constant(0)), () => f.set(rest, f64.add(rest, divisor)));
  return f.local("f32", f32.fromF64(f64.copySign(rest, dividend)));
}
