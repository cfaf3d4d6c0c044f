// Index of the first maximum along the middle one of three axes [outer, $EXTENT, $INNER].
fn run(id: u32) {
  let start = (id / u32($INNER)) * u32($EXTENT * $INNER) + id % u32($INNER);
  var best = x[start];
  var index = 0;
  for (var i = 1; i < $EXTENT; i++) {
    let value = x[start + u32(i * $INNER)];
    if (value > best) {
      best = value;
      index = i;
    }
  }
  y[id] = index;
}
