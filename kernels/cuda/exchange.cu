// Keys for maxima and minima over processes. G: nan, back, count.

// The bits of floats, in place, as integers in the same order, and back (`back`). NaN is `nan` first, the largest or the
// smallest of all, so that it propagates. A word with a sign has its other bits reversed.
template <class G> DEVICE void order_keys(int* p) {
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  int word = p[id];
  if (!G::back && (word & 0x7fffffff) > 0x7f800000) word = G::nan;
  p[id] = word < 0 ? word ^ 0x7fffffff : word;
}
