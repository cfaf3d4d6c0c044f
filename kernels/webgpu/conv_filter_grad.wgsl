// Gradient of a convolution to its filter: dw[k,r,s,c] = sum over n,p,q of
// dy[n,p,q,k] · x[n, p*stride+r*dilation-pad, q*…, c].
// One invocation computes a tile of $OUTS output channels × $INS channels of one tap, over a run of $RUN output pixels,
// so that all taps of a run find its pixels in the cache. The $PARTS partial sums are stored consecutively in `dw`, and
// further kernels add them, always in the same order. A column of `d_b` holds four gradients of a pixel, a column of
// `x_c` four channels of the same pixel.
fn run(id: u32) {
  let tile = i32(id % u32($TILES));
  let rest = id / u32($TILES);
  let tap = i32(rest % u32($R * $S));
  let part = i32(rest / u32($R * $S));
  let r = tap / $S;
  let s = tap % $S;
  let group = tile / ($OUT_TILES * $IN_TILES);
  let k0 = ((tile / $IN_TILES) % $OUT_TILES) * $OUTS;
  let c0 = (tile % $IN_TILES) * $INS;

  $for b OUT_BLOCKS
  $for c IN_BLOCKS
  var acc_${b}_${c} = mat4x4f();
  $end
  $end
  for (var m0 = part * $RUN; m0 < min((part + 1) * $RUN, $M); m0 += 4) { // at most $RUN / 4
    var x_at: array<i32, 4>;
    var dy_at: array<i32, 4>;
    var inside: array<bool, 4>;
    $for j 4
    {
      let m = u32(m0 + $j);
      let line = m / u32($Q);
      let h = i32(line % u32($P)) * $STRIDE_H - $PAD_TOP + r * $DILATION_H;
      let w = i32(m % u32($Q)) * $STRIDE_W - $PAD_LEFT + s * $DILATION_W;
      inside[$j] = m0 + $j < $M && u32(h) < u32($H) && u32(w) < u32($W);
      x_at[$j] = select(0, ((i32(line / u32($P)) * $H + h) * $W + w) * $C + group * $CG + c0, inside[$j]);
      dy_at[$j] = select(0, i32(m) * $K + group * $KG + k0, inside[$j]);
    }
    $end
    $for c IN_BLOCKS
    var x_$c: mat4x4f;
    $for j 4
    x_$c[$j] = select(vec4f(), load_x(x_at[$j] + 4 * $c, $CG - c0 - 4 * $c), inside[$j]);
    $end
    $end
    $for b OUT_BLOCKS
    {
      var d_b: mat4x4f;
      $for j 4
      d_b[$j] = select(vec4f(), load_dy(dy_at[$j] + 4 * $b, $KG - k0 - 4 * $b), inside[$j]);
      $end
      let by_pixel = transpose(d_b);
      $for c IN_BLOCKS
      acc_${b}_${c} += x_$c * by_pixel;
      $end
    }
    $end
  }

  $for b OUT_BLOCKS
  $for j 4
  if (k0 + 4 * $b + $j < $KG) {
    let at = part * $SIZE + ((group * $KG + k0 + 4 * $b + $j) * ($R * $S) + tap) * $CG + c0;
    $for c IN_BLOCKS
    store_dw(at + 4 * $c, $CG - c0 - 4 * $c, acc_${b}_${c}[$j]);
    $end
  }
  $end
  $end
}
