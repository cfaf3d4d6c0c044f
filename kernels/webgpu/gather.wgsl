// Selects rows of `table` by `indices`, which are clamped into range. One invocation copies $LANES elements of a row.
// BYTES: the table holds bytes, four to a word, and the result is f32.
fn run(id: u32) {
  let column = id % u32($COLUMNS);
  let row = u32(clamp($INDEX(indices[id / u32($COLUMNS)]), 0, $ROWS - 1));
  let at = row * u32($COLUMNS) + column;
  $if BYTES
  $if WIDE
  y[id] = vec4f(unpack4xU8(table[at]));
  $else
  y[id] = f32((table[at >> 2u] >> ((at & 3u) * 8u)) & 0xffu);
  $end
  $else
  y[id] = table[at];
  $end
}
