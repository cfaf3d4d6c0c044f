// Gradients of pooling to the image, gathered: one invocation for each pixel and $WIDTH channels of it (`$T`) adds up
// what it gets from the windows that cover it, in window order. MAXIMUM: a window's gradient goes to its first maximum.
$if MAXIMUM
// Where window (top, left) does not have its first maximum at pixel (h, w), false.
fn is_first_maximum(image: i32, top: i32, left: i32, h: i32, w: i32, c: i32, value: $T) -> $B {
  var first = $B(true);
  for (var i = max(top, 0); i < min(top + $WINDOW_H, $H); i++) {
    for (var j = max(left, 0); j < min(left + $WINDOW_W, $W); j++) {
      let other = x[((image + i) * $W + j) * $CHANNELS + c];
      let earlier = i < h || (i == h && j < w);
      first = first & !((other > value) | ((other == value) & $B(earlier)));
    }
  }
  return first;
}
$end
fn run(id: u32) {
  let c = i32(id % u32($CHANNELS));
  let m = id / u32($CHANNELS);
  let w = i32(m % u32($W));
  let row = m / u32($W);
  let h = i32(row % u32($H));
  let n = i32(row / u32($H));
  $if MAXIMUM
  let value = x[id];
  $end
  var sum = $T();
  // Windows p with p*stride - pad <= h < p*stride - pad + window.
  let p_end = min((h + $PAD_TOP) / $STRIDE_H, $P - 1);
  let q_end = min((w + $PAD_LEFT) / $STRIDE_W, $Q - 1);
  for (var p = max(h + $PAD_TOP - $WINDOW_H + $STRIDE_H, 0) / $STRIDE_H; p <= p_end; p++) {
    for (var q = max(w + $PAD_LEFT - $WINDOW_W + $STRIDE_W, 0) / $STRIDE_W; q <= q_end; q++) {
      let share = dy[((n * $P + p) * $Q + q) * $CHANNELS + c];
      $if MAXIMUM
      let here = is_first_maximum(n * $H, p * $STRIDE_H - $PAD_TOP, q * $STRIDE_W - $PAD_LEFT, h, w, c, value);
      sum += select($T(), share, here);
      $else
      sum += share;
      $end
    }
  }
  $if MAXIMUM
  y[id] = sum;
  $else
  y[id] = sum * $T(1.0 / f32($WINDOW_H * $WINDOW_W));
  $end
}
