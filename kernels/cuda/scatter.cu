// The gradient of gather. G: rows, columns, updates, lanes, count.

// y[row] = the sum of the updates whose index is `row`, in a fixed order. Every thread reads all indices, so that no
// atomics are needed.
template <class G, class T, class I> DEVICE void scatter_add(const T* updates, const I* indices, T* y) {
  constexpr int V = G::lanes;
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  constexpr u32 runs = G::columns / V;
  const u32 row = id / runs, column = id % runs * V;
  LongSum<V, G::updates> sum;
  for (u32 position = 0; position < G::updates; ++position) {
    if (clamped(indices[position], G::rows) != row) continue;
    sum.add(widened(load<V>(updates + (size_t)position * G::columns + column)));
  }
  store(y + (size_t)id * V, narrowed<T>(sum.total()));
}
