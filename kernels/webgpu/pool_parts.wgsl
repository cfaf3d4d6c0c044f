// Partial sums of average pooling over long windows of an NHWC image. One invocation adds a run of $RUN pixels of a
// window, in $LANES channels (`$T`). The $PARTS partial sums are stored consecutively in `y`, and further kernels add
// them.
fn run(id: u32) {
  let unit = id % u32($UNITS);
  let first = i32(id / u32($UNITS)) * $RUN;
  let c = i32(unit % u32($CHANNELS));
  let m = unit / u32($CHANNELS);
  let row = m / u32($Q);
  let top = i32(row % u32($P)) * $STRIDE_H - $PAD_TOP;
  let left = i32(m % u32($Q)) * $STRIDE_W - $PAD_LEFT;
  let image = i32(row / u32($P)) * $H;
  var sum = $T();
  let end = min(first + $RUN, $WINDOW_H * $WINDOW_W);
  for (var few_first = first; few_first < end; few_first += $FEW) { // at most $RUN / $FEW
    var few = $T(); // rounding errors grow with the number of terms added in sequence
    for (var t = few_first; t < min(few_first + $FEW, end); t++) { // at most $FEW
      let h = top + t / $WINDOW_W;
      let w = left + t % $WINDOW_W;
      if (u32(h) < u32($H) && u32(w) < u32($W)) {
        few += x[((image + h) * $W + w) * $CHANNELS + c];
      }
    }
    sum += few;
  }
  y[id] = sum;
}
