// Search for the first maximum. G: extent, inner, count.

// The index of the first maximum along an axis of `extent` elements that are `inner` apart.
template <class G, class T> DEVICE void arg_max(const T* x, int* y) {
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  const T* row = x + (size_t)(id / G::inner) * G::extent * G::inner + id % G::inner;
  T best = row[0];
  int at = 0;
  for (int i = 1; i < (int)G::extent; ++i) {
    const T candidate = row[(size_t)i * G::inner];
    if (is_greater(candidate, best)) best = candidate, at = i;
  }
  y[id] = at;
}
