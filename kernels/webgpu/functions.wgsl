// Functions that WGSL lacks, or leaves too loose to train by, for `$T` (f32 or vec4f) with `$U` and `$B` of as many
// elements; their names end in $WIDTH. WGSL compilers may assume that no NaN or infinity occurs, so these are told by bits.
$if is_finite
fn is_finite_$WIDTH(x: $T) -> $B {
  return (bitcast<$U>(x) & $U(0x7f800000u)) != $U(0x7f800000u);
}
$end
$if log
// Natural logarithm to about one unit in the last place, near 1 too, where built-in ones are only absolutely accurate.
// x = m·2^e with m in [√½, √2), u = (m-1)/(m+1), log m = 2(u + u³/3 + u⁵/5 + …).
fn log_$WIDTH(x: $T) -> $T {
  let bits = bitcast<$U>(x);
  let high = (bits & $U(0x007fffffu)) > $U(0x003504f3u);
  let e = bitcast<$I>(bits >> $U(23u)) - $I(127) + select($I(0), $I(1), high);
  let m = bitcast<$T>((bits & $U(0x007fffffu)) | select($U(0x3f800000u), $U(0x3f000000u), high));
  let d = m - $T(1.0);
  let u = d / (d + $T(2.0));
  let v = u * u;
  let series = v * ($T(0.6666666667) + v * ($T(0.4) + v * ($T(0.2857142857) + v * $T(0.2222222222))));
  // log m = d - u·(d - series): exact in its leading term d.
  let f = $T(e);
  let value = f * $T(0.693359375) + (d - u * (d - series) + f * $T(-0.00021219444));
  let normal = select(value, x, bits >= $U(0x7f800000u));
  let negative = select(normal, $T(from_bits(0x7fc00000u)), bits > $U(0x80000000u));
  return select(negative, $T(from_bits(0xff800000u)), (bits & $U(0x7f800000u)) == $U(0u));
}
$end
$if exp
// Exponential that neither wraps for large arguments nor loses a NaN.
fn exp_$WIDTH(x: $T) -> $T {
  let bits = bitcast<$U>(x);
  let not_a_number = (bits & $U(0x7fffffffu)) > $U(0x7f800000u);
  let value = select(exp(clamp(x, $T(-104.0), $T(88.72283))), $T(0.0), x < $T(-103.9));
  let finite = select(value, $T(from_bits(0x7f800000u)), x > $T(88.72284));
  return select(finite, x, not_a_number);
}
$end
$if tanh
// Hyperbolic tangent: a series near 0, where the built-in one cancels; clamped, where it may overflow.
fn tanh_$WIDTH(x: $T) -> $T {
  let v = x * x;
  let near = x * ($T(1.0) + v * ($T(-0.33333333) + v * ($T(0.13333333) + v * ($T(-0.053968254) + v * $T(0.021869489)))));
  let value = select(tanh(clamp(x, $T(-10.0), $T(10.0))), near, abs(x) < $T(0.3));
  return select(value, x, (bitcast<$U>(x) & $U(0x7fffffffu)) > $U(0x7f800000u));
}
$end
$if pow
// Power with C's rules for a negative base: an integer exponent keeps or drops the sign, any other gives NaN.
fn pow_$WIDTH(x: $T, y: $T) -> $T {
  let size = exp_$WIDTH(y * log_$WIDTH(abs(x)));
  let whole = floor(y) == y;
  let odd = whole & (floor(y * $T(0.5)) * $T(2.0) != y);
  let defined = whole | (x == $T(0.0)) | !is_finite_$WIDTH(x);
  let signed = select(select($T(from_bits(0x7fc00000u)), size, defined), -size, odd);
  let value = select(size, signed, bitcast<$U>(x) >= $U(0x80000000u));
  return select(value, $T(1.0), y == $T(0.0));
}
$end
$if to_i32
// f32 → i32: truncated, out of range to the nearest end, NaN to 0.
fn to_i32_$WIDTH(x: $T) -> $I {
  let not_a_number = (bitcast<$U>(x) & $U(0x7fffffffu)) > $U(0x7f800000u);
  let value = select($I(clamp(x, $T(-2147483600.0), $T(2147483500.0))), $I(2147483647), x >= $T(2147483600.0));
  return select(select(value, $I(-2147483647 - 1), x <= $T(-2147483600.0)), $I(0), not_a_number);
}
$end
$if to_u32
// f32 → u32, likewise.
fn to_u32_$WIDTH(x: $T) -> $U {
  let not_a_number = (bitcast<$U>(x) & $U(0x7fffffffu)) > $U(0x7f800000u);
  let value = select($U(clamp(x, $T(0.0), $T(4294967000.0))), $U(4294967295u), x >= $T(4294967200.0));
  return select(value, $U(0u), not_a_number);
}
$end
$if threefry
// Word 0 of Threefry-2×32, 20 rounds (Salmon and others, 2011), of key (a, b) and counter (x, 0).
fn threefry_$WIDTH(a: u32, b: u32, x: $U) -> $U {
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
  return x0;
}
$end
