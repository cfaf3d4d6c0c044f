// Functions that WGSL lacks, or defines too loosely for training, for `$T` (f32 or vec4f), with `$I`, `$U` and `$B` of
// the same length; their names end in $LANES. WGSL compilers may assume that NaN and infinity never occur, so both are
// recognised by their bits.
$if is_finite
fn is_finite_$LANES(x: $T) -> $B {
  return (bitcast<$U>(x) & $U(0x7f800000u)) != $U(0x7f800000u);
}
$end
$if is_nan
fn is_nan_$LANES(x: $T) -> $B {
  return (bitcast<$U>(x) & $U(0x7fffffffu)) > $U(0x7f800000u);
}
$end
$if keep_nan
// y, or x where that is NaN.
fn keep_nan_$LANES(x: $T, y: $T) -> $T {
  return select(y, x, is_nan_$LANES(x));
}
$end
$if max
fn max_$LANES(x: $T, y: $T) -> $T {
  return keep_nan_$LANES(x, keep_nan_$LANES(y, max(x, y)));
}
$end
$if min
fn min_$LANES(x: $T, y: $T) -> $T {
  return keep_nan_$LANES(x, keep_nan_$LANES(y, min(x, y)));
}
$end
$if is_greater
// Tests whether x replaces `best` in a search for the first maximum. A NaN is greater than any number.
fn is_greater_$LANES(x: $T, best: $T) -> $B {
  return !is_nan_$LANES(best) & (is_nan_$LANES(x) | (x > best));
}
$end
$if hidden
// x, hidden from the compiler, which replaces x - x by 0 and treats code after a division by 0 as unreachable.
fn hidden_$LANES(x: $T) -> $T {
  return bitcast<$T>(bitcast<$U>(x) | $U(zero));
}
$end
$if sign
// ±1 with the sign of x; zeros and NaN are unchanged.
fn sign_$LANES(x: $T) -> $T {
  let bits = bitcast<$U>(x);
  let size = bits & $U(0x7fffffffu);
  let one = bitcast<$T>((bits & $U(0x80000000u)) | $U(0x3f800000u));
  return select(one, x, (size == $U(0u)) | (size > $U(0x7f800000u)));
}
$end
$if log
// Natural logarithm to about one unit in the last place, also near 1, where built-in ones bound only the absolute
// error.
// x = m·2^e with m in [√½, √2), u = (m-1)/(m+1), log m = 2(u + u³/3 + u⁵/5 + …).
fn log_$LANES(x: $T) -> $T {
  let given = bitcast<$U>(x);
  // A denormal number's bits are an integer in units of 2⁻¹⁴⁹.
  let tiny = given < $U(0x00800000u);
  let bits = select(given, bitcast<$U>($T(given & $U(0x007fffffu))), tiny);
  let high = (bits & $U(0x007fffffu)) > $U(0x003504f3u);
  let e = bitcast<$I>(bits >> $U(23u)) - select($I(127), $I(276), tiny) + select($I(0), $I(1), high);
  let m = bitcast<$T>((bits & $U(0x007fffffu)) | select($U(0x3f800000u), $U(0x3f000000u), high));
  let d = m - $T(1.0);
  let u = d / (d + $T(2.0));
  let v = u * u;
  let series = v * ($T(0.6666666667) + v * ($T(0.4) + v * ($T(0.2857142857) + v * $T(0.2222222222))));
  // log m = d - u·(d - series): exact in its leading term d.
  let f = $T(e);
  let value = f * $T(0.693359375) + (d - u * (d - series) + f * $T(-0.00021219444));
  let normal = select(value, x, given >= $U(0x7f800000u));
  let negative = select(normal, $T(from_bits(0x7fc00000u)), given > $U(0x80000000u));
  return select(negative, $T(from_bits(0xff800000u)), (given & $U(0x7fffffffu)) == $U(0u));
}
$end
$if exp
// Exponential: e^x = 2^n · e^r with n an integer and |r| ≤ ½ log 2, and a polynomial for e^r (Cephes, expf). 2^n is
// added to the exponent's bits as far as they reach, which leaves a factor for denormal results. 88.72283 is the
// largest f32 with a finite exponential; beyond it the bits would be those of a NaN.
fn exp_$LANES(x: $T) -> $T {
  let n = floor(clamp(x, $T(-104.0), $T(88.72283)) * $T(1.442695041) + $T(0.5));
  let r = clamp(x, $T(-104.0), $T(88.72283)) - n * $T(0.693359375) - n * $T(-0.00021219444);
  let series = $T(0.5) + r * ($T(0.16666665459) + r * ($T(0.041665795894) + r * ($T(0.0083334519073) +
    r * ($T(0.0013981999507) + r * $T(0.00019875691500)))));
  let e = $I(n);
  let whole = max(e, $I(-125));
  let power = bitcast<$T>(bitcast<$I>($T(1.0) + (r + r * r * series)) + whole * $I(0x800000));
  let value = select(power * bitcast<$T>((e - whole + $I(127)) * $I(0x800000)), power, e == whole);
  let low = select(value, $T(0.0), x < $T(-103.98));
  let finite = select(low, $T(from_bits(0x7f800000u)), x > $T(88.72283));
  return keep_nan_$LANES(x, finite);
}
$end
$if tanh
// Hyperbolic tangent: a series near 0, where the built-in one loses digits; clamped, as the built-in one may overflow.
fn tanh_$LANES(x: $T) -> $T {
  let v = x * x;
  let near = x * ($T(1.0) + v * ($T(-0.33333333) + v * ($T(0.13333333) + v * ($T(-0.053968254) + v * $T(0.021869489)))));
  return keep_nan_$LANES(x, select(tanh(clamp(x, $T(-10.0), $T(10.0))), near, abs(x) < $T(0.3)));
}
$end
$if erf
// Error function: a series near 0; elsewhere the logarithm of 1 - erf is smooth. Beyond 4 the result rounds to 1.
fn erf_$LANES(x: $T) -> $T {
  let v = x * x;
  let near = x + x * ($T(0.12837915123) + v * ($T(-0.37612551451) + v * ($T(0.11282455176) + v *
    ($T(-0.026791462675) + v * ($T(0.0050321812741) + v * $T(-0.00062032538699))))));
  let t = min(abs(x), $T(4.0));
  let rest = $T(-0.00013357470743) + t * ($T(-1.1279361248) + t * ($T(-0.63673722744) + t * (
    $T(-0.10432750732) + t * ($T(0.022420220077) + t * ($T(-0.0030922926962) + t * $T(0.00020099629182))))));
  let far = bitcast<$U>($T(1.0) - exp_$LANES(rest)) | (bitcast<$U>(x) & $U(0x80000000u));
  return keep_nan_$LANES(x, select(bitcast<$T>(far), near, abs(x) < $T(0.875)));
}
$end
$if pow
// Power by C's rules. For a negative base, an odd exponent gives a negative result, an even one a positive result, and
// one that is not an integer gives NaN. 1 to any power, anything to the power of 0, and -1 to an infinite power are 1.
fn pow_$LANES(x: $T, y: $T) -> $T {
  let size = exp_$LANES(y * log_$LANES(abs(x)));
  let whole = floor(y) == y;
  let odd = whole & (floor(y * $T(0.5)) * $T(2.0) != y);
  let defined = whole | (x == $T(0.0)) | !is_finite_$LANES(x);
  let signed = select(select($T(from_bits(0x7fc00000u)), size, defined), -size, odd);
  let value = keep_nan_$LANES(y, select(size, signed, bitcast<$U>(x) >= $U(0x80000000u)));
  let endless = (abs(x) == $T(1.0)) & ((bitcast<$U>(y) & $U(0x7fffffffu)) == $U(0x7f800000u));
  return select(value, $T(1.0), (bitcast<$U>(x) == $U(0x3f800000u)) | endless |
    ((bitcast<$U>(y) & $U(0x7fffffffu)) == $U(0u)));
}
$end
$if rem
// Exact remainder of x divided by y, with the sign of x (C's fmod): long division of integers, eight bits at a time.
fn rem_$LANES(x: $T, y: $T) -> $T {
  let a = bitcast<$U>(x) & $U(0x7fffffffu);
  let b = bitcast<$U>(y) & $U(0x7fffffffu);
  // As mantissa · 2^exponent; the exponent of a denormal number is 1.
  let a_exponent = max(a >> $U(23u), $U(1u));
  let b_exponent = max(b >> $U(23u), $U(1u));
  let a_mantissa = a - ((a_exponent - $U(1u)) << $U(23u));
  let b_mantissa = max(b - ((b_exponent - $U(1u)) << $U(23u)), $U(1u));
  var left = a_exponent - min(a_exponent, b_exponent);
  var rest = a_mantissa % b_mantissa;
  for (var turn = 0; turn < 32; turn++) { // at most 32
    let bits = min(left, $U(8u));
    rest = (rest << bits) % b_mantissa;
    left -= bits;
    $if WIDE
    if (all(left == $U(0u))) { break; }
    $else
    if (left == 0u) { break; }
    $end
  }
  // Normalises: shifts the mantissa's first bit to its place, or as near to it as the least exponent allows.
  let shift = min(max(countLeadingZeros(rest), $U(8u)) - $U(8u), b_exponent - $U(1u));
  let bits = select((rest << shift) + ((b_exponent - shift - $U(1u)) << $U(23u)), $U(0u), rest == $U(0u));
  let value = select(bits, a, a < b) | (bitcast<$U>(x) & $U(0x80000000u));
  let undefined = (a >= $U(0x7f800000u)) | (b > $U(0x7f800000u)) | (b == $U(0u));
  return bitcast<$T>(select(value, $U(0x7fc00000u), undefined));
}
$end
$if angle
struct Angle { rest: f32, quarters: u32 }
// The low and high word of word · m + carry, for m and carry below 2²⁴.
fn times(word: u32, m: u32, carry: u32) -> vec2u {
  let a = (word & 0xffffu) * (m & 0xffffu);
  let b = (word >> 16u) * (m & 0xffffu);
  let c = (word & 0xffffu) * (m >> 16u);
  let first = a + carry;
  let second = first + (b << 16u);
  let third = second + (c << 16u);
  let carried = u32(first < a) + u32(second < first) + u32(third < second);
  return vec2u(third, (b >> 16u) + (c >> 16u) + (word >> 16u) * (m >> 16u) + carried);
}
// A positive angle as whole quarter turns and a remainder of at most an eighth of a turn in either direction. |x| =
// m·2^e is multiplied by those bits of 1/(2π) that affect the result (Payne & Hanek, SIGNUM 1983), so that angles of
// every size have the same accuracy.
fn angle(size: f32) -> Angle {
  let bits = bitcast<u32>(size);
  if (bits <= 0x3f490fdau) { return Angle(size, 0u); }
  var inverse = array<u32, 8>(0u, 0x28be60dbu, 0x9391054au, 0x7f09d5f4u, 0x7d4d3770u, 0x36d8a566u, 0x4f10e410u, 0x7f9458eau);
  let first = min(bits >> 23u, 254u) - 118u;
  let at = first >> 5u;
  let shift = first & 31u;
  $for j 3
  let word_$j = (inverse[at + $j] << shift) | ((inverse[at + $j + 1] >> 1u) >> (31u - shift));
  $end
  let m = (bits & 0x007fffffu) | 0x00800000u;
  let last = times(word_2, m, 0u);
  let low = times(word_1, m, last.y);
  let high = times(word_0, m, low.y);
  // 64 bits of a fraction of a turn.
  let rest = f32(bitcast<i32>((high.x << 2u) | (low.x >> 30u))) + f32(low.x << 2u) * 2.3283064e-10;
  return Angle(rest * 3.657295198e-10, (high.x + 0x20000000u) >> 30u);
}
// Sine of an angle, negated if the first bit of `negative` is set (polynomials of Cephes, sinf).
fn sine(angle: Angle, negative: u32) -> f32 {
  let r = angle.rest;
  let v = r * r;
  let s = r + r * v * (-0.16666654611 + v * (0.0083321608736 - v * 0.00019515295891));
  let c = 1.0 - 0.5 * v + v * v * (0.041666645683 + v * (-0.0013887316255 + v * 0.000024433157118));
  let value = select(s, c, (angle.quarters & 1u) == 1u);
  return bitcast<f32>(bitcast<u32>(value) ^ (negative & 0x80000000u) ^ ((angle.quarters & 2u) << 30u));
}
$end
$if sin
$if WIDE
fn sin_4(x: vec4f) -> vec4f {
  return vec4f(sin_1(x.x), sin_1(x.y), sin_1(x.z), sin_1(x.w));
}
$else
fn sin_1(x: f32) -> f32 {
  let value = sine(angle(abs(x)), bitcast<u32>(x));
  return select(from_bits(0x7fc00000u), value, is_finite_1(x));
}
$end
$end
$if cos
$if WIDE
fn cos_4(x: vec4f) -> vec4f {
  return vec4f(cos_1(x.x), cos_1(x.y), cos_1(x.z), cos_1(x.w));
}
$else
fn cos_1(x: f32) -> f32 {
  let turned = angle(abs(x));
  let value = sine(Angle(turned.rest, turned.quarters + 1u), 0u);
  return select(from_bits(0x7fc00000u), value, is_finite_1(x));
}
$end
$end
$if to_i32
// f32 → i32: truncated; out of range, the nearest end; NaN gives 0.
fn to_i32_$LANES(x: $T) -> $I {
  let value = select($I(clamp(x, $T(-2147483600.0), $T(2147483500.0))), $I(2147483647), x >= $T(2147483600.0));
  return select(select(value, $I(-2147483647 - 1), x <= $T(-2147483600.0)), $I(0), is_nan_$LANES(x));
}
$end
$if to_u32
// f32 → u32, likewise.
fn to_u32_$LANES(x: $T) -> $U {
  let value = select($U(clamp(x, $T(0.0), $T(4294967000.0))), $U(4294967295u), x >= $T(4294967200.0));
  return select(value, $U(0u), is_nan_$LANES(x));
}
$end
$if threefry
// A word of Threefry-2×32, 20 rounds (Salmon and others, 2011), of key (a, b) and counter (x, 0).
fn threefry_$LANES(a: u32, b: u32, x: $U, word: u32) -> $U {
  const rotations = array<u32, 8>(13u, 15u, 26u, 6u, 17u, 29u, 16u, 24u);
  let schedule = array<u32, 3>(a, b, a ^ b ^ 0x1bd11bdau);
  var x0 = x + $U(a);
  var x1 = $U(b);
  $for turn 5
  $for round 4
  x0 += x1;
  x1 = ((x1 << $U(rotations[4 * ($turn % 2) + $round])) | (x1 >> $U(32u - rotations[4 * ($turn % 2) + $round]))) ^ x0;
  $end
  x0 += $U(schedule[($turn + 1) % 3]);
  x1 += $U(schedule[($turn + 2) % 3] + $turn + 1u);
  $end
  return select(x0, x1, word == 1u);
}
$end
