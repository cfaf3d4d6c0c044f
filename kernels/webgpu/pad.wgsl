// Puts zeros around and between elements, over $RANK merged axes. One invocation writes $LANES words (`$T`).
fn run(id: u32) {
  var rest = i32(id);
  var at = 0;
  var inside = true;
  $for back RANK
  {
    const axis = $RANK - 1 - $back;
    let i = rest % ($SHAPE)[axis] - ($LOW)[axis];
    rest = rest / ($SHAPE)[axis];
    inside = inside && i >= 0 && i % ($STEP)[axis] == 0 && i / ($STEP)[axis] < ($EXTENT)[axis];
    at += (i / ($STEP)[axis]) * ($STRIDE)[axis];
  }
  $end
  y[id] = select($T(), x[select(0, at, inside)], inside);
}
