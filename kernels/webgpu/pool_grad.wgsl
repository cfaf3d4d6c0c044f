// Gradients of pooling to the image. One invocation adds up $LANES channels of a pixel's gradient (`$T`) from all
// windows that cover it, in window order. MAXIMUM: a window's gradient belongs to its first maximum, or first NaN;
// FOUND: to the pixel given in `at`, from element $AT on. SPLIT: each invocation adds a run of $RUN of those windows;
// the $PARTS partial sums are stored consecutively in `y`, and further kernels add them.
$if MAXIMUM
// Tests whether pixel (h, w) is the first maximum of window (top, left).
fn is_first_maximum(image: i32, top: i32, left: i32, h: i32, w: i32, c: i32, value: $T) -> $B {
  var first = $B(true);
  for (var i = max(top, 0); i < min(top + $WINDOW_H, $H); i++) { // at most $ROWS
    for (var j = max(left, 0); j < min(left + $WINDOW_W, $W); j++) { // at most $COLS
      let other = x[((image + i) * $W + j) * $CHANNELS + c];
      // It must exceed an earlier pixel and at least equal a later one.
      if (i < h || (i == h && j < w)) {
        first = first & is_greater_$LANES(value, other);
      } else {
        first = first & !is_greater_$LANES(other, value);
      }
    }
  }
  return first;
}
$end
fn run(id: u32) {
  $if SPLIT
  let unit = id % u32($UNITS);
  let run_first = i32(id / u32($UNITS)) * $RUN;
  $else
  let unit = id;
  $end
  let c = i32(unit % u32($CHANNELS));
  let m = unit / u32($CHANNELS);
  let w = i32(m % u32($W));
  let row = m / u32($W);
  let h = i32(row % u32($H));
  let n = i32(row / u32($H));
  $if MAXIMUM
  let value = x[id];
  $end
  var few = $T();
  $if LONG
  var sum = $T();
  var terms = 0;
  $end
  // Windows p with p*stride - pad <= h < p*stride - pad + window.
  let p_first = max(h + $PAD_TOP - $WINDOW_H + $STRIDE_H, 0) / $STRIDE_H;
  let q_first = max(w + $PAD_LEFT - $WINDOW_W + $STRIDE_W, 0) / $STRIDE_W;
  let p_end = min((h + $PAD_TOP) / $STRIDE_H, $P - 1);
  let q_end = min((w + $PAD_LEFT) / $STRIDE_W, $Q - 1);
  $if SPLIT
  let across = max(q_end - q_first + 1, 0);
  let count = max(p_end - p_first + 1, 0) * across;
  for (var t = run_first; t < min(run_first + $RUN, count); t++) { // at most $RUN
    let p = p_first + t / across;
    let q = q_first + t % across;
    {
  $else
  for (var p = p_first; p <= p_end; p++) { // at most $DOWN
    for (var q = q_first; q <= q_end; q++) { // at most $ACROSS
  $end
      let window = ((n * $P + p) * $Q + q) * $CHANNELS + c;
      let share = dy[window];
      $if MAXIMUM
      let here = is_first_maximum(n * $H, p * $STRIDE_H - $PAD_TOP, q * $STRIDE_W - $PAD_LEFT, h, w, c, value);
      few += select($T(), share, here);
      $else
      $if FOUND
      $if SPLIT
      let found = bitcast<i32>(y[$AT + window]);
      $else
      let found = at[$AT + window];
      $end
      few += select(0.0, share, found == h * $W + w);
      $else
      few += share;
      $end
      $end
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
  $if AVERAGE
  y[$TO + id] = few * $T(1.0 / f32($WINDOW_H * $WINDOW_W));
  $else
  y[$TO + id] = few;
  $end
}
