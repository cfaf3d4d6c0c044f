// Convolution: y[n,p,q,k] = sum over r,s,c of x[n, p*stride+r*dilation-pad, q*…, c] · w[k,r,s,c], channels last. One
// invocation computes a tile of $PIXELS output pixels × $OUTS output channels in registers, by products of 4×4 blocks:
// a column of `x_a` holds four channels of a pixel, a column of `w_b` four channels of an output channel's filter.
// SPLIT: the taps, or even the channels of one tap, are too many for one invocation; the $PARTS partial sums are stored
// consecutively in `y`, and further kernels add them.
fn run(id: u32) {
  $if SPLIT
  let part = i32(id / u32($COUNT));
  let unit = id % u32($COUNT);
  let tap_first = (part % $TAP_PARTS) * $TAP_RUN;
  let c_first = (part / $TAP_PARTS) * $CHANNEL_RUN;
  let c_end = min(c_first + $CHANNEL_RUN, $CG);
  let y_first = part * ($M * $K);
  $else
  let unit = id;
  const c_first = 0;
  const c_end = $CG;
  const y_first = 0;
  $end
  let tile = i32(unit % u32($OUT_TILES));
  let group = tile / $GROUP_TILES;
  let k0 = group * $KG + (tile % $GROUP_TILES) * $OUTS;
  let k_end = (group + 1) * $KG;
  let m0 = i32(unit / u32($OUT_TILES)) * $PIXELS;

  var top: array<i32, $PIXELS>;
  var left: array<i32, $PIXELS>;
  var origin: array<i32, $PIXELS>;
  $for i PIXELS
  {
    let m = u32(min(m0 + $i, $M - 1));
    let row = m / u32($Q);
    top[$i] = i32(row % u32($P)) * $STRIDE_H - $PAD_TOP;
    left[$i] = i32(m % u32($Q)) * $STRIDE_W - $PAD_LEFT;
    origin[$i] = ((i32(row / u32($P)) * $H + top[$i]) * $W + left[$i]) * $C + group * $CG;
  }
  $end
  $for a PIXEL_BLOCKS
  $for b OUT_BLOCKS
  var acc_${a}_${b} = mat4x4f();
  $end
  $end

  $if SPLIT
  for (var t = tap_first; t < min(tap_first + $TAP_RUN, $R * $S); t++) { // at most $TAP_RUN
    let r = t / $S;
    let s = t % $S;
    {
  $else
  for (var r = 0; r < $R; r++) { // at most $R
    for (var s = 0; s < $S; s++) { // at most $S
  $end
      let tap = (r * $DILATION_H * $W + s * $DILATION_W) * $C;
      var at: array<i32, $PIXELS>;
      $if PADDED
      var inside: array<bool, $PIXELS>;
      $for i PIXELS
      inside[$i] = u32(top[$i] + r * $DILATION_H) < u32($H) && u32(left[$i] + s * $DILATION_W) < u32($W);
      at[$i] = select(0, origin[$i] + tap, inside[$i]);
      $end
      $else
      $for i PIXELS
      at[$i] = origin[$i] + tap;
      $end
      $end
      let filter_at = (r * $S + s) * $CG;
      for (var c = c_first; c < c_end; c += 4) { // at most $CHANNEL_RUN / 4
        $for a PIXEL_BLOCKS
        var x_$a: mat4x4f;
        $for j 4
        x_$a[$j] = load_x(at[4 * $a + $j] + c, $CG - c);
        $if PADDED
        x_$a[$j] = select(vec4f(), x_$a[$j], inside[4 * $a + $j]);
        $end
        $end
        $end
        $for b OUT_BLOCKS
        {
          var w_b: mat4x4f;
          $for j 4
          w_b[$j] = load_w(min(k0 + 4 * $b + $j, k_end - 1) * $FILTER + filter_at + c, $CG - c);
          $end
          let by_channel = transpose(w_b);
          $for a PIXEL_BLOCKS
          acc_${a}_${b} += by_channel * x_$a;
          $end
        }
        $end
      }
    }
  }

  $for a PIXEL_BLOCKS
  $for j 4
  if (m0 + 4 * $a + $j < $M) {
    let at = y_first + (m0 + 4 * $a + $j) * $K + k0;
    $for b OUT_BLOCKS
    store_y(at + 4 * $b, k_end - k0 - 4 * $b, acc_${a}_${b}[$j]);
    $end
  }
  $end
  $end
}
