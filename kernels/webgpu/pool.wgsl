// Pooling over windows of an NHWC image. One invocation computes $LANES channels of a result (`$T`). AVERAGE: avgPool;
// PICK: maxPoolPick, the element of `v` at each window's first maximum; otherwise maxPool.
fn run(id: u32) {
  let c = i32(id % u32($CHANNELS));
  let m = id / u32($CHANNELS);
  let row = m / u32($Q);
  let top = i32(row % u32($P)) * $STRIDE_H - $PAD_TOP;
  let left = i32(m % u32($Q)) * $STRIDE_W - $PAD_LEFT;
  let image = i32(row / u32($P)) * $H;
  $if AVERAGE
  var few = $T();
  $if LONG
  var sum = $T();
  var terms = 0;
  $end
  $else
  var best = x[((image + max(top, 0)) * $W + max(left, 0)) * $CHANNELS + c];
  $end
  $if PICK
  var picked = v[((image + max(top, 0)) * $W + max(left, 0)) * $CHANNELS + c];
  $end
  for (var h = max(top, 0); h < min(top + $WINDOW_H, $H); h++) { // at most $ROWS
    for (var w = max(left, 0); w < min(left + $WINDOW_W, $W); w++) { // at most $COLS
      let at = ((image + h) * $W + w) * $CHANNELS + c;
      let value = x[at];
      $if AVERAGE
      few += value;
      $if LONG
      terms++;
      if (terms % $FEW == 0) { // rounding errors grow with the number of terms added in sequence
        sum += few;
        few = $T();
      }
      $end
      $else
      $if PICK
      let above = is_greater_$LANES(value, best);
      picked = select(picked, v[at], above);
      best = select(best, value, above);
      $else
      best = max_$LANES(best, value);
      $end
      $end
    }
  }
  $if AVERAGE
  $if LONG
  few += sum;
  $end
  y[id] = few * $T(1.0 / f32($WINDOW_H * $WINDOW_W));
  $else
  $if PICK
  y[id] = picked;
  $else
  y[id] = best;
  $end
  $end
}
