// Rows of a table selected by index. G: rows, columns, lanes, count.

// y[position] = table[indices[position]]; u8 elements become floats.
template <class G, class T, class R, class I> DEVICE void gather(const T* table, const I* indices, R* y) {
  constexpr int V = G::lanes;
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  constexpr u32 runs = G::columns / V;
  const u32 row = clamped(indices[id / runs], G::rows);
  const Vec<T, V> x = load<V>(table + (size_t)row * G::columns + id % runs * V);
  Vec<R, V> result;
  UNROLL for (int e = 0; e < V; ++e) result.at[e] = (R)x.at[e];
  store(y + (size_t)id * V, result);
}
