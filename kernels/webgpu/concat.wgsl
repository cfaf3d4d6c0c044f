// Copies one operand of a concatenation: rows of $COLUMNS elements into longer rows. One invocation copies $LANES
// words.
fn run(id: u32) {
  y[(id / u32($COLUMNS)) * u32($ROW) + u32($OFFSET) + id % u32($COLUMNS)] = x[id];
}
