// The gradient of gather. G: rows, columns, updates, lanes, count.

// y[row] = the sum of the updates whose index is `row`, in a fixed order. Every thread reads all indices, so that no
// atomics are needed.
template <class G, class T, class I> DEVICE void scatter_add(const T* updates, const I* indices, T* y) {
  constexpr int V = G::lanes;
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  constexpr u32 runs = G::columns / V;
  const u32 row = id / runs, column = id % runs * V;
  Vec<float, V> sum = filled<V>(0.0f);
  for (u32 first = 0; first < G::updates; first += 512) { // in blocks, so that errors do not grow with the number of updates
    Vec<float, V> block_sum = filled<V>(0.0f);
    const u32 end = lesser(first + 512u, (u32)G::updates);
    for (u32 position = first; position < end; ++position) {
      if (clamped(indices[position], G::rows) != row) continue;
      const Vec<T, V> x = load<V>(updates + (size_t)position * G::columns + column);
      UNROLL for (int e = 0; e < V; ++e) block_sum.at[e] += widen(x.at[e]);
    }
    UNROLL for (int e = 0; e < V; ++e) sum.at[e] += block_sum.at[e];
  }
  store(y + (size_t)id * V, narrowed<T>(sum));
}
