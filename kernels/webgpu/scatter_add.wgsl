// y[row] = sum of the `updates` whose (clamped) index is that row, in index order, so that the result does not depend on
// scheduling: one invocation for each $WIDTH elements (`$T`) of a row reads all indices. There are no float atomics.
fn run(id: u32) {
  let column = id % u32($COLUMNS);
  let row = i32(id / u32($COLUMNS));
  var sum = $T();
  for (var i = 0u; i < u32($UPDATES); i++) {
    if (i32(clamp($INDEX(indices[i]), 0, $ROWS - 1)) == row) {
      sum += updates[i * u32($COLUMNS) + column];
    }
  }
  y[id] = sum;
}
