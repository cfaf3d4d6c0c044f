// Accessors of four consecutive elements of `$NAME`, of which only the first `count` exist.
// VECTOR: every run starts at a multiple of 4, and all four exist.
$if VECTOR
fn load_$NAME(at: i32, count: i32) -> vec4f {
  return $NAME[u32(at) >> 2u];
}
$else
fn load_$NAME(at: i32, count: i32) -> vec4f {
  return vec4f(
    select(0.0, $NAME[at], count > 0),
    select(0.0, $NAME[at + 1], count > 1),
    select(0.0, $NAME[at + 2], count > 2),
    select(0.0, $NAME[at + 3], count > 3));
}
$end
$if WRITE
$if VECTOR
fn store_$NAME(at: i32, count: i32, value: vec4f) {
  if (count > 0) { $NAME[u32(at) >> 2u] = value; }
}
$else
fn store_$NAME(at: i32, count: i32, value: vec4f) {
  if (count > 0) { $NAME[at] = value.x; }
  if (count > 1) { $NAME[at + 1] = value.y; }
  if (count > 2) { $NAME[at + 2] = value.z; }
  if (count > 3) { $NAME[at + 3] = value.w; }
}
$end
$end
