// Bilinear resize from $H × $W to $P × $Q, channels last, with pixels at the positions that PyTorch uses. GRADIENT: the
// gradient of that, from $P × $Q to $H × $W. One invocation computes $LANES channels of a pixel of the result (`$T`).
// SPLIT: each invocation adds a run of $RUN of the pixels that contribute to a gradient; the $PARTS partial sums are
// stored consecutively in `y`, and further kernels add them.
// Positions are exact, as fractions of integers: position = (i * UP + SHIFT) / DOWN.
struct Source { low: i32, part: f32 }
fn source(i: i32, up: i32, shift: i32, down: i32) -> Source {
  let position = max(i * up + shift, 0);
  return Source(position / down, f32(position % down) / f32(down));
}
$if GRADIENT
// The weight of source pixel `at` in the result pixel whose source is `position`.
fn weight(position: Source, at: i32, extent: i32) -> f32 {
  let low = min(position.low, extent - 1);
  return select(0.0, 1.0 - position.part, low == at) + select(0.0, position.part, min(low + 1, extent - 1) == at);
}
// A range that includes all result pixels that depend on source pixel `at`; those beyond the border depend on the
// border pixel.
fn users(at: i32, up: i32, shift: i32, down: i32, extent: i32, results: i32) -> vec2i {
  if (up == 0) { return vec2i(0, results - 1); }
  let first = ((at - 1) * down - shift) / up - 1;
  let last = ((at + 1) * down - shift) / up + 1;
  return vec2i(select(max(first, 0), 0, at == 0), select(min(last, results - 1), results - 1, at == extent - 1));
}
fn run(id: u32) {
  $if SPLIT
  let unit = id % u32($UNITS);
  let first = i32(id / u32($UNITS)) * $RUN;
  $else
  let unit = id;
  $end
  let c = i32(unit % u32($CHANNELS));
  let m = unit / u32($CHANNELS);
  let w = i32(m % u32($W));
  let row = m / u32($W);
  let h = i32(row % u32($H));
  let n = i32(row / u32($H));
  let rows = users(h, $UP_H, $SHIFT_H, $DOWN_H, $H, $P);
  let cols = users(w, $UP_W, $SHIFT_W, $DOWN_W, $W, $Q);
  var few = $T();
  $if LONG
  var sum = $T();
  var terms = 0;
  $end
  $if SPLIT
  let wide = cols.y - cols.x + 1;
  for (var t = first; t < min(first + $RUN, (rows.y - rows.x + 1) * wide); t++) { // at most $RUN
    let p = rows.x + t / wide;
    let q = cols.x + t % wide;
    let down = weight(source(p, $UP_H, $SHIFT_H, $DOWN_H), h, $H);
    {
  $else
  for (var p = rows.x; p <= rows.y; p++) { // at most $ROWS
    let down = weight(source(p, $UP_H, $SHIFT_H, $DOWN_H), h, $H);
    if (down == 0.0) { continue; }
    for (var q = cols.x; q <= cols.y; q++) { // at most $COLS
  $end
      let across = weight(source(q, $UP_W, $SHIFT_W, $DOWN_W), w, $W);
      if (across == 0.0) { continue; }
      few += x[((n * $P + p) * $Q + q) * $CHANNELS + c] * $T(down * across);
      $if LONG
      terms++;
      if (terms % $FEW == 0) { // rounding errors grow with the number of terms added in sequence
        sum += few;
        few = $T();
      }
      $end
    }
  }
  $if LONG
  few += sum;
  $end
  y[id] = few;
}
$else
fn run(id: u32) {
  let c = i32(id % u32($CHANNELS));
  let m = id / u32($CHANNELS);
  let row = m / u32($Q);
  let n = i32(row / u32($P));
  let y_at = source(i32(row % u32($P)), $UP_H, $SHIFT_H, $DOWN_H);
  let x_at = source(i32(m % u32($Q)), $UP_W, $SHIFT_W, $DOWN_W);
  let top = min(y_at.low, $H - 1);
  let left = min(x_at.low, $W - 1);
  let bottom = min(top + 1, $H - 1);
  let right = min(left + 1, $W - 1);
  let down = $T(y_at.part);
  let across = $T(x_at.part);
  let a = x[((n * $H + top) * $W + left) * $CHANNELS + c];
  let b = x[((n * $H + top) * $W + right) * $CHANNELS + c];
  let d = x[((n * $H + bottom) * $W + left) * $CHANNELS + c];
  let e = x[((n * $H + bottom) * $W + right) * $CHANNELS + c];
  y[id] = (a * (1.0 - across) + b * across) * (1.0 - down) + (d * (1.0 - across) + e * across) * down;
}
$end
