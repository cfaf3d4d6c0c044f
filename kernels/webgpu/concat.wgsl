// Copies rows of $COLUMNS elements into longer rows: one operand of a concatenation. $WIDTH words an invocation.
fn run(id: u32) {
  y[(id / u32($COLUMNS)) * u32($ROW) + u32($OFFSET) + id % u32($COLUMNS)] = x[id];
}
