// y[row] = sum of the `updates` whose (clamped) index is that row. There are no float atomics: one invocation computes
// $LANES elements of a row (`$T`) and reads a run of $RUN indices in order, so that the result does not depend on
// scheduling. The $PARTS partial sums are stored consecutively in `y`, and further kernels add them.
fn run(id: u32) {
  let unit = id % u32($UNITS);
  let part = id / u32($UNITS);
  let column = unit % u32($COLUMNS);
  let row = i32(unit / u32($COLUMNS));
  var few = $T();
  var sum = $T();
  var terms = 0;
  for (var i = part * u32($RUN); i < min((part + 1u) * u32($RUN), u32($UPDATES)); i++) { // at most $RUN
    if (i32(clamp($INDEX(indices[i]), 0, $ROWS - 1)) == row) {
      few += updates[i * u32($COLUMNS) + column];
      terms++;
      if (terms % $FEW == 0) { // rounding errors grow with the number of terms added in sequence
        sum += few;
        few = $T();
      }
    }
  }
  y[id] = sum + few;
}
