// Adds $COUNT partial sums of $SIZE elements each, which begin at element $FROM, always in the same order. Every $FOLD
// of them become one partial sum of the next level, which begins at element $TO. LAST: they become the result, times
// $SCALE.
// One invocation computes four elements.
fn run(id: u32) {
  let at = i32(id % u32($UNITS)) * 4;
  let to = i32(id / u32($UNITS));
  let end = min((to + 1) * $FOLD, $COUNT);
  var sum = vec4f();
  for (var first = to * $FOLD; first < end; first += 16) { // at most $FOLD / 16
    var few = vec4f();
    for (var part = first; part < min(first + 16, end); part++) { // at most 16
      few += load_parts($FROM + part * $SIZE + at, $SIZE - at);
    }
    sum += few;
  }
  $if LAST
  store_y(at, $SIZE - at, sum * $SCALE);
  $else
  store_parts($TO + to * $SIZE + at, $SIZE - at, sum);
  $end
}
