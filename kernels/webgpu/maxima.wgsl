// The place of the first maximum of each window of an NHWC image, as pixel h·$W + w of the image. A NaN is greater than
// any number. One invocation searches a run of $RUN of the window's $WINDOW_H × $WINDOW_W pixels, in one channel; the
// result of a run outside the image is -1. The results of the $PARTS runs are stored consecutively in `y`;
// maxima_fold.wgsl picks the first maximum among them.
fn run(id: u32) {
  let unit = id % u32($UNITS);
  let first = i32(id / u32($UNITS)) * $RUN;
  let c = unit % u32($C);
  let m = unit / u32($C);
  let row = m / u32($Q);
  let top = i32(row % u32($P)) * $STRIDE_H - $PAD_TOP;
  let left = i32(m % u32($Q)) * $STRIDE_W - $PAD_LEFT;
  let image = row / u32($P) * u32($H * $W);
  var best = $T();
  var at = -1;
  for (var t = first; t < min(first + $RUN, $WINDOW_H * $WINDOW_W); t++) { // at most $RUN
    let h = top + t / $WINDOW_W;
    let w = left + t % $WINDOW_W;
    if (u32(h) < u32($H) && u32(w) < u32($W)) {
      let value = x[(image + u32(h * $W + w)) * u32($C) + c];
      if (at < 0 || $GREATER) {
        best = value;
        at = h * $W + w;
      }
    }
  }
  y[id] = at;
}
