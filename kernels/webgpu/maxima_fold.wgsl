// Picks the first maximum of each window among those of its $PARTS runs (maxima.wgsl), whose places are in `parts`.
// INDEX: the result is its place, in $RESULT from element $TO; PICK: the element of `v` there; otherwise the maximum
// itself.
fn run(id: u32) {
  let c = id % u32($C);
  let image = id / u32($C * $P * $Q) * u32($H * $W);
  var best = $T();
  var at = -1;
  for (var part = 0u; part < u32($PARTS); part++) { // at most $PARTS
    let candidate = parts[part * u32($UNITS) + id];
    if (candidate >= 0) {
      let value = x[(image + u32(candidate)) * u32($C) + c];
      if (at < 0 || $GREATER) {
        best = value;
        at = candidate;
      }
    }
  }
  $if INDEX
  $RESULT[u32($TO) + id] = at;
  $else
  $if PICK
  y[id] = v[(image + u32(at)) * u32($C) + c];
  $else
  y[id] = best;
  $end
  $end
}
