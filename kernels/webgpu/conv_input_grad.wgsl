// Gradient of a convolution to its image: dx[n,h,w,c] = sum over r,s,k of dy[n,p,q,k] · w[k,r,s,c], where
// h = p*stride + r*dilation - pad and likewise for w. Pixels are grouped by phase (h mod stride, w mod stride), because
// all pixels of a phase meet the same taps. One invocation computes $PIXELS pixels of one phase × $OUTS channels:
// a column of `d_a` holds four gradients of a pixel, a column of `w_b` four channels of an output channel's filter.
// SPLIT: as in conv.wgsl.
fn run(id: u32) {
  $if SPLIT
  let part = i32(id / u32($COUNT));
  let unit = id % u32($COUNT);
  let tap_first = (part % $TAP_PARTS) * $TAP_RUN;
  let k_first = (part / $TAP_PARTS) * $CHANNEL_RUN;
  let k_end = min(k_first + $CHANNEL_RUN, $KG);
  let dx_first = part * $SIZE;
  $else
  let unit = id;
  const k_first = 0;
  const k_end = $KG;
  const dx_first = 0;
  $end
  let tile = i32(unit % u32($OUT_TILES));
  let rest = unit / u32($OUT_TILES);
  let group = tile / $GROUP_TILES;
  let c0 = (tile % $GROUP_TILES) * $OUTS;
  let m0 = i32(rest % u32($PIXEL_TILES)) * $PIXELS;
  let phase = i32(rest / u32($PIXEL_TILES));
  let phase_h = phase / $STRIDE_W;
  let phase_w = phase % $STRIDE_W;

  var row: array<i32, $PIXELS>;
  var col: array<i32, $PIXELS>;
  var image: array<i32, $PIXELS>;
  $for i PIXELS
  {
    let m = u32(min(m0 + $i, $M - 1));
    let line = m / u32($PHASE_W);
    row[$i] = i32(line % u32($PHASE_H));
    col[$i] = i32(m % u32($PHASE_W));
    image[$i] = i32(line / u32($PHASE_H));
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
  $else
  for (var r = 0; r < $R; r++) { // at most $R
  $end
    let from_h = phase_h + $PAD_TOP - r * $DILATION_H;
    // Not by `%`, which OpenGL leaves undefined for a negative operand.
    if (from_h / $STRIDE_H * $STRIDE_H != from_h) { continue; }
    $if SPLIT
    for (var s = t % $S; s == t % $S; s++) { // at most 1
    $else
    for (var s = 0; s < $S; s++) { // at most $S
    $end
      let from_w = phase_w + $PAD_LEFT - s * $DILATION_W;
      if (from_w / $STRIDE_W * $STRIDE_W != from_w) { continue; }
      var at: array<i32, $PIXELS>;
      var inside: array<bool, $PIXELS>;
      $for i PIXELS
      {
        let p = row[$i] + from_h / $STRIDE_H;
        let q = col[$i] + from_w / $STRIDE_W;
        inside[$i] = u32(p) < u32($P) && u32(q) < u32($Q);
        at[$i] = select(0, ((image[$i] * $P + p) * $Q + q) * $K + group * $KG, inside[$i]);
      }
      $end
      let filter_at = (group * $KG * $R * $S + r * $S + s) * $CG + c0;
      for (var k = k_first; k < k_end; k += 4) { // at most $CHANNEL_RUN / 4
        $for a PIXEL_BLOCKS
        var d_$a: mat4x4f;
        $for j 4
        d_$a[$j] = select(vec4f(), load_dy(at[4 * $a + $j] + k, $KG - k), inside[4 * $a + $j]);
        $end
        $end
        $for b OUT_BLOCKS
        {
          var w_b: mat4x4f;
          let channels = $CG - c0 - 4 * $b;
          let first = select(0, 4 * $b, channels > 0);
          $for j 4
          w_b[$j] = load_w(filter_at + min(k + $j, $KG - 1) * $FILTER + first, max(channels, 0));
          $end
          $for a PIXEL_BLOCKS
          acc_${a}_${b} += w_b * d_$a;
          $end
        }
        $end
      }
    }
  }

  $for a PIXEL_BLOCKS
  $for j 4
  {
    let h = row[4 * $a + $j] * $STRIDE_H + phase_h;
    let w = col[4 * $a + $j] * $STRIDE_W + phase_w;
    if (m0 + 4 * $a + $j < $M && h < $H && w < $W) {
      let at = dx_first + ((image[4 * $a + $j] * $H + h) * $W + w) * $C + group * $CG + c0;
      $for b OUT_BLOCKS
      store_dx(at + 4 * $b, $CG - c0 - 4 * $b, acc_${a}_${b}[$j]);
      $end
    }
  }
  $end
  $end
}
