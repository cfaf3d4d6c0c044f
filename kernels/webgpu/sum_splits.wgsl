// Adds $SPLITS partial results of $SIZE elements each, in order: four elements an invocation.
fn run(id: u32) {
  let at = i32(id) * 4;
  var sum = vec4f();
  for (var split = 0; split < $SPLITS; split++) {
    sum += load_parts(split * $SIZE + at, $SIZE - at);
  }
  store_y(at, $SIZE - at, sum);
}
