// Bilinear resize from $H × $W to $P × $Q, channels last, as PyTorch places pixels; or, with GRADIENT, its gradient
// from $P × $Q to $H × $W, gathered. One invocation for each result and $WIDTH channels of it (`$T`).
$if ALIGN_CORNERS
fn source(i: i32, scale: f32) -> f32 { return f32(i) * scale; }
$else
fn source(i: i32, scale: f32) -> f32 { return max((f32(i) + 0.5) * scale - 0.5, 0.0); }
$end
$if GRADIENT
// How much of source pixel `at` is in result pixel `i`.
fn weight(i: i32, scale: f32, at: i32, extent: i32) -> f32 {
  let position = source(i, scale);
  let low = min(i32(position), extent - 1);
  let part = position - f32(low);
  return select(0.0, 1.0 - part, low == at) + select(0.0, part, min(low + 1, extent - 1) == at);
}
// A range of result pixels that holds all those using source pixel `at`: border pixels serve all beyond them.
fn users(at: i32, scale: f32, extent: i32, results: i32) -> vec2i {
  if (scale == 0.0) { return vec2i(0, results - 1); }
  let first = i32(floor((f32(at) - 1.0) / scale)) - 1;
  let last = i32(ceil((f32(at) + 2.0) / scale)) + 1;
  return vec2i(select(clamp(first, 0, results - 1), 0, at == 0), select(clamp(last, 0, results - 1), results - 1, at == extent - 1));
}
fn run(id: u32) {
  let c = i32(id % u32($CHANNELS));
  let m = id / u32($CHANNELS);
  let w = i32(m % u32($W));
  let row = m / u32($W);
  let h = i32(row % u32($H));
  let n = i32(row / u32($H));
  let rows = users(h, $SCALE_H, $H, $P);
  let cols = users(w, $SCALE_W, $W, $Q);
  var sum = $T();
  for (var p = rows.x; p <= rows.y; p++) {
    let down = weight(p, $SCALE_H, h, $H);
    if (down == 0.0) { continue; }
    for (var q = cols.x; q <= cols.y; q++) {
      let across = weight(q, $SCALE_W, w, $W);
      if (across == 0.0) { continue; }
      sum += x[((n * $P + p) * $Q + q) * $CHANNELS + c] * $T(down * across);
    }
  }
  y[id] = sum;
}
$else
fn run(id: u32) {
  let c = i32(id % u32($CHANNELS));
  let m = id / u32($CHANNELS);
  let row = m / u32($Q);
  let n = i32(row / u32($P));
  let y_at = source(i32(row % u32($P)), $SCALE_H);
  let x_at = source(i32(m % u32($Q)), $SCALE_W);
  let top = min(i32(y_at), $H - 1);
  let left = min(i32(x_at), $W - 1);
  let bottom = min(top + 1, $H - 1);
  let right = min(left + 1, $W - 1);
  let down = $T(y_at - f32(top));
  let across = $T(x_at - f32(left));
  let a = x[((n * $H + top) * $W + left) * $CHANNELS + c];
  let b = x[((n * $H + top) * $W + right) * $CHANNELS + c];
  let d = x[((n * $H + bottom) * $W + left) * $CHANNELS + c];
  let e = x[((n * $H + bottom) * $W + right) * $CHANNELS + c];
  y[id] = (a * (1.0 - across) + b * across) * (1.0 - down) + (d * (1.0 - across) + e * across) * down;
}
$end
