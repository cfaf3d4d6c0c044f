import type { V128 } from "./wasm/expressions.ts";
import { f32, i32 } from "./wasm/scalars.ts";
import { f32x4, i32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { LEAST_EXPONENT, quarterTurns, remainder } from "./remainders.ts";
import { LANES } from "./tile.ts";

// Elementary functions of four lanes. Arguments are reduced as in W. J. Cody and W. Waite, "Software Manual for the
// Elementary Functions" (1980); polynomials are minimax fits of the relative error on the reduced range (Lawson's
// iteration), with coefficients rounded to f32.

type Lanes = Local<"v128">;

/** ln 2 in two parts, the first with so few bits that its product with an integer up to 2¹⁵ is exact. */
const LN2_HIGH = 355 / 512;
const LN2_LOW = Math.LN2 - LN2_HIGH;

/** The bit of an f32's sign. */
export const SIGN = -0x80000000;

/** Writes straight-line vector code: every intermediate result becomes a local variable. */
export class VectorMath {
  constructor(readonly f: FunctionBuilder) {}

  /** Keeps a value that is used more than once in a local variable. */
  keep(value: V128): Lanes {
    return this.f.local("v128", value);
  }

  float(value: number): Lanes {
    return this.f.constant(f32x4.constant(value));
  }

  integer(value: number): Lanes {
    return this.f.constant(i32x4.constant(value));
  }

  /** c₀ + x·(c₁ + x·(c₂ + …)). */
  polynomial(x: V128, coefficients: readonly number[]): V128 {
    const [highest = 0, ...lower] = coefficients.toReversed();
    return lower.reduce<V128>((sum, c) => f32x4.madd(sum, x, this.float(c)), this.float(highest));
  }

  select(condition: V128, a: V128, b: V128): V128 {
    return v128.bitselect(a, b, condition);
  }

  /** 2ⁿ for integers n from −126 to 127. */
  #powerOfTwo(n: V128): V128 {
    return i32x4.shl(i32x4.add(n, this.integer(127)), 23);
  }

  /** Rounds to bf16: an f32 whose lower half is zero. Ties go to even; a NaN becomes the one of all ones. */
  roundBf16(x: V128): V128 {
    const bits = this.keep(x);
    const odd = v128.and(i32x4.shrU(bits, 16), this.integer(1));
    const nearest = i32x4.add(i32x4.add(bits, this.integer(0x7fff)), odd);
    return v128.and(v128.or(nearest, f32x4.ne(bits, bits)), this.integer(~0xffff));
  }

  exp(x: Lanes): V128 {
    // x = n·ln 2 + r, |r| ≤ ln 2 / 2.
    const clamped = this.keep(f32x4.pmax(f32x4.pmin(x, this.float(89)), this.float(-104)));
    const n = this.keep(f32x4.nearest(f32x4.mul(clamped, this.float(Math.LOG2E))));
    const r = this.keep(
      f32x4.nmadd(n, this.float(LN2_LOW), f32x4.nmadd(n, this.float(LN2_HIGH), clamped)),
    );
    const p = this.polynomial(r, [
      0.5,
      0.16666665673,
      0.041666295379,
      0.0083334967494,
      0.0013944659149,
      0.00019790341321,
    ]);
    const mantissa = this.keep(f32x4.add(f32x4.madd(p, f32x4.mul(r, r), r), this.float(1)));
    // Two factors, since 2¹²⁸ overflows on its own; results below 2⁻¹²⁶ round through the second.
    const half = this.keep(i32x4.truncS(f32x4.floor(f32x4.mul(n, this.float(0.5)))));
    const rest = i32x4.sub(i32x4.truncS(n), half);
    const value = f32x4.mul(f32x4.mul(mantissa, this.#powerOfTwo(half)), this.#powerOfTwo(rest));
    return this.select(f32x4.eq(x, x), value, x);
  }

  log(x: Lanes): V128 {
    // Denormals are scaled up first; then x = 2ᵉ·m with m in [√½, √2).
    const tiny = this.keep(f32x4.lt(x, this.float(2 ** -126)));
    const scaled = this.keep(this.select(tiny, f32x4.mul(x, this.float(2 ** 23)), x));
    const biased = i32x4.sub(i32x4.shrU(scaled, 23), this.integer(126));
    const exponent = this.keep(f32x4.sub(f32x4.fromI32(biased), v128.and(tiny, this.float(23))));
    const half = v128.or(v128.and(scaled, this.integer(0x007fffff)), this.float(0.5)); // in [½, 1)
    const mantissa = this.keep(half);
    const low = this.keep(f32x4.lt(mantissa, this.float(Math.SQRT1_2)));
    const e = this.keep(f32x4.sub(exponent, v128.and(low, this.float(1))));
    const t = this.keep(f32x4.sub(f32x4.add(mantissa, v128.and(low, mantissa)), this.float(1)));
    const square = this.keep(f32x4.mul(t, t));
    const p = this.polynomial(t, [
      0.33333313465,
      -0.25000008941,
      0.20002119243,
      -0.16667996347,
      0.14219552279,
      -0.12405589223,
      0.11888162792,
      -0.11675651371,
      0.067466385663,
    ]);
    const tail = f32x4.madd(e, this.float(LN2_LOW), f32x4.mul(f32x4.mul(square, t), p));
    const sum = f32x4.add(t, f32x4.nmadd(square, this.float(0.5), tail));
    const value = f32x4.madd(e, this.float(LN2_HIGH), sum);
    const infinite = f32x4.eq(x, this.float(Infinity));
    const finite = this.select(
      f32x4.eq(x, this.float(0)),
      this.float(-Infinity),
      this.select(infinite, x, value),
    );
    return this.select(f32x4.ge(x, this.float(0)), finite, this.float(NaN));
  }

  /** Sine, or cosine as the sine a quarter turn later. */
  #wave(x: Lanes, quarter: 0 | 1): Lanes {
    // x = q·π/2 + r, |r| ≤ π/4; π/2 in three parts of 8, 11 and 24 bits, so that q times the first two is exact
    // for |q| < 2¹³. Larger angles, which are rare, are reduced one by one.
    const q = this.keep(f32x4.nearest(f32x4.mul(x, this.float(2 / Math.PI))));
    let r: V128 = x;
    for (const part of [1.5703125, 0.0004837512969970703, 7.549790126404332e-8]) {
      r = f32x4.nmadd(q, this.float(part), r);
    }
    const reduced = this.keep(r);
    const turns = this.keep(i32x4.truncS(q));
    this.#reduceLarge(x, reduced, turns);
    const square = this.keep(f32x4.mul(reduced, reduced));
    if (quarter === 1) this.f.set(turns, i32x4.add(turns, this.integer(1)));
    const sine = f32x4.madd(
      f32x4.mul(square, reduced),
      this.polynomial(square, [-0.16666655242, 0.008332176134, -0.00019516977773]),
      reduced,
    );
    const cosine = f32x4.add(
      f32x4.madd(
        f32x4.mul(square, square),
        this.polynomial(square, [0.041666645557, -0.0013887364184, 0.000024438089895]),
        f32x4.mul(square, this.float(-0.5)),
      ),
      this.float(1),
    );
    const odd = i32x4.shrS(i32x4.shl(turns, 31), 31);
    const sign = i32x4.shl(i32x4.shrU(turns, 1), 31);
    const value = v128.xor(this.select(odd, cosine, sine), sign);
    return this.keep(f32x4.madd(f32x4.sub(x, x), this.float(0), value)); // NaN where x is infinite or NaN
  }

  /** Recomputes the lanes of `reduced` and `turns` where |x| is at least 2¹³. */
  #reduceLarge(x: Lanes, reduced: Lanes, turns: Lanes): void {
    const { f } = this;
    f.if(v128.anyTrue(f32x4.ge(f32x4.abs(x), this.float(2 ** 13))), () => {
      for (let lane = 0; lane < LANES; lane++) {
        const bits = f.int(i32x4.lane(x, lane));
        const exponent = f.int(i32.and(i32.shrU(bits, 23), 0xff));
        f.if(i32.geU(exponent, LEAST_EXPONENT), () => {
          const { quarters, rest } = quarterTurns(f, bits, exponent);
          const sign = f.int(i32.shrS(bits, 31)); // −1 for negative angles, which turn backwards
          f.set(turns, i32x4.withLane(turns, lane, i32.sub(i32.xor(quarters, sign), sign)));
          const angle = i32.xor(i32.ofF32(f32.fromF64(rest)), i32.and(sign, SIGN));
          f.set(reduced, i32x4.withLane(reduced, lane, angle));
        });
      }
    });
  }

  sin(x: Lanes): V128 {
    return this.select(f32x4.eq(x, this.float(0)), x, this.#wave(x, 0)); // sin(−0) is −0
  }

  cos(x: Lanes): V128 {
    return this.#wave(x, 1);
  }

  tanh(x: Lanes): V128 {
    const magnitude = this.keep(f32x4.abs(x));
    const square = this.keep(f32x4.mul(x, x));
    const near = f32x4.madd(
      f32x4.mul(square, x),
      this.polynomial(square, [
        -0.33333283663,
        0.13331490755,
        -0.053743496537,
        0.020650586113,
        -0.0057170446962,
      ]),
      x,
    );
    const doubled = this.keep(f32x4.add(magnitude, magnitude));
    const power = f32x4.add(this.exp(doubled), this.float(1));
    const far = f32x4.sub(this.float(1), f32x4.div(this.float(2), power));
    const unsigned = this.select(f32x4.lt(magnitude, this.float(0.625)), near, far);
    const value = v128.or(unsigned, v128.and(x, this.integer(SIGN))); // near 0 too, since tanh(−0) is −0
    return this.select(f32x4.eq(x, x), value, x);
  }

  /**
   * x·P(x²) / Q(x²), fitted to within 2·10⁻⁸ of the error function up to 3.93 by least squares whose weights follow the error.
   * No coefficient is negative, so nothing cancels. From there on to 4.05, where it stays, it rounds to 1 or above.
   */
  erf(x: Lanes): V128 {
    const size = this.keep(f32x4.pmin(f32x4.abs(x), this.float(4.05)));
    const square = this.keep(f32x4.mul(size, size));
    const over = this.polynomial(square, [
      1.12837911,
      0.190595582,
      0.052769538,
      0.00377262617,
      0.000284844806,
      2.04600838e-6,
    ]);
    const under = this.polynomial(square, [
      1,
      0.502243698,
      0.114183471,
      0.0149833523,
      0.00116387533,
      3.80476413e-5,
    ]);
    const unsigned = f32x4.pmin(f32x4.div(f32x4.mul(size, over), under), this.float(1));
    const value = v128.or(unsigned, v128.and(x, this.integer(SIGN))); // near 0 too, since erf(−0) is −0
    return this.select(f32x4.eq(x, x), value, x);
  }

  /** xʸ; for negative x, y must be an integer. 1ʸ and x⁰ are 1, also for NaN. */
  pow(x: Lanes, y: Lanes): V128 {
    const magnitude = this.keep(f32x4.abs(x));
    const exponent = this.keep(f32x4.mul(y, this.keep(this.log(magnitude))));
    // ±1 to an infinite power is 1, as infinities are even.
    const unit = v128.and(f32x4.eq(magnitude, this.float(1)), f32x4.eq(y, y));
    const power = this.select(unit, this.float(1), this.keep(this.exp(exponent)));
    const whole = f32x4.eq(f32x4.nearest(y), y);
    const halved = f32x4.mul(y, this.float(0.5));
    const odd = f32x4.ne(f32x4.nearest(halved), halved);
    const sign = v128.and(v128.and(x, this.integer(SIGN)), v128.and(whole, odd));
    const defined = v128.or(whole, f32x4.eq(x, this.float(-Infinity)));
    const undefinedHere = v128.andNot(f32x4.lt(x, this.float(0)), defined);
    const value = this.select(undefinedHere, this.float(NaN), v128.or(power, sign));
    const one = v128.or(f32x4.eq(y, this.float(0)), f32x4.eq(x, this.float(1)));
    return this.select(one, this.float(1), value);
  }

  /** x − y·trunc(x / y), exact. */
  rem(x: Lanes, y: Lanes): V128 {
    const result = this.keep(x);
    for (let lane = 0; lane < LANES; lane++) {
      const [a, b] = [x, y].map((vector) => this.f.local("f32", f32x4.lane(vector, lane)));
      this.f.set(result, f32x4.withLane(result, lane, remainder(this.f, a, b)));
    }
    return this.select(f32x4.eq(y, y), result, y);
  }

  /** A word of Threefry-2×32 with 20 rounds (Salmon et al., SC 2011) of counters (`index`, 0). */
  threefry(key0: V128, key1: V128, index: V128, word: 0 | 1): V128 {
    const parity = this.integer(0x1bd11bda);
    const schedule = [this.keep(key0), this.keep(key1)];
    schedule.push(this.keep(v128.xor(v128.xor(schedule[0], schedule[1]), parity)));
    const a = this.keep(i32x4.add(index, schedule[0]));
    const b = this.keep(schedule[1]);
    for (let group = 0; group < 5; group++) {
      for (const turn of [[13, 15, 26, 6], [17, 29, 16, 24]][group % 2]) {
        this.f.set(a, i32x4.add(a, b));
        this.f.set(b, v128.xor(v128.or(i32x4.shl(b, turn), i32x4.shrU(b, 32 - turn)), a));
      }
      this.f.set(a, i32x4.add(a, schedule[(group + 1) % 3]));
      this.f.set(b, i32x4.add(i32x4.add(b, schedule[(group + 2) % 3]), this.integer(group + 1)));
    }
    return word === 0 ? a : b;
  }
}
