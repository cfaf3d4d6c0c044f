// Batched matrix product: y[i,j] = sum over k of a[i,k] · b[k,j]. TRANSPOSE_A, TRANSPOSE_B: the operand is stored
// transposed.
// One invocation computes a tile of $ROWS × $COLS in registers, over every $PARTS-th run of four k, by products of 4×4
// blocks: a column of `a_a` holds four k of a row, a column of `b_j` four columns of one k. With several parts, the
// partial sums are stored consecutively in `y`, and further kernels add them.
fn run(id: u32) {
  let j0 = i32(id % u32($COL_TILES)) * $COLS;
  let rest = id / u32($COL_TILES);
  let i0 = i32(rest % u32($ROW_TILES)) * $ROWS;
  let outer = i32(rest / u32($ROW_TILES));
  let batch = outer % $BATCH;
  let part = outer / $BATCH;
  let a0 = batch * ($M * $K);
  let b0 = batch * ($K * $N);

  $for a ROW_BLOCKS
  $for b COL_BLOCKS
  var acc_${a}_${b} = mat4x4f();
  $end
  $end
  for (var k = part * 4; k < $K; k += $PARTS * 4) { // at most $RUN / 4
    $for a ROW_BLOCKS
    var a_$a: mat4x4f;
    {
      let i = i0 + 4 * $a;
      $for j 4
      $if TRANSPOSE_A
      a_$a[$j] = load_a(a0 + min(k + $j, $K - 1) * $M + min(i, $M - 1), $M - i);
      $if K_TAIL
      a_$a[$j] = select(vec4f(), a_$a[$j], k + $j < $K);
      $end
      $else
      a_$a[$j] = load_a(a0 + min(i + $j, $M - 1) * $K + k, $K - k);
      $end
      $end
      $if TRANSPOSE_A
      a_$a = transpose(a_$a);
      $end
    }
    $end
    $for b COL_BLOCKS
    {
      let j = j0 + 4 * $b;
      var b_j: mat4x4f;
      $for j 4
      $if TRANSPOSE_B
      b_j[$j] = load_b(b0 + min(j + $j, $N - 1) * $K + k, $K - k);
      $else
      b_j[$j] = load_b(b0 + min(k + $j, $K - 1) * $N + min(j, $N - 1), $N - j);
      $if K_TAIL
      b_j[$j] = select(vec4f(), b_j[$j], k + $j < $K);
      $end
      $end
      $end
      $if TRANSPOSE_B
      b_j = transpose(b_j);
      $end
      $for a ROW_BLOCKS
      acc_${a}_${b} += b_j * a_$a;
      $end
    }
    $end
  }

  $for a ROW_BLOCKS
  $for j 4
  if (i0 + 4 * $a + $j < $M) {
    let at = (outer * $M + i0 + 4 * $a + $j) * $N + j0;
    $for b COL_BLOCKS
    store_y(at + 4 * $b, $N - j0 - 4 * $b, acc_${a}_${b}[$j]);
    $end
  }
  $end
  $end
}
