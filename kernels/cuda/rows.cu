// Rows picked, added up and searched by index. G: rows, columns, lanes, and what else a kernel names.

DEVICE u32 clamped(u32 index, u32 rows) { return index < rows ? index : rows - 1; }
DEVICE u32 clamped(int index, u32 rows) { return index < 0 ? 0 : clamped((u32)index, rows); }

// y[position] = table[indices[position]]; bytes become floats.
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

// y[row] = the updates whose index is `row`, added in order, block by block: every thread reads all indices, and no atomics are needed.
template <class G, class T, class I> DEVICE void scatter_add(const T* updates, const I* indices, T* y) {
  constexpr int V = G::lanes;
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  constexpr u32 runs = G::columns / V;
  const u32 row = id / runs, column = id % runs * V;
  Vec<float, V> sum = filled<V>(0.0f);
  for (u32 first = 0; first < G::updates; first += 512) { // in blocks, so that many are not added up one by one
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

// Index of the first maximum along an axis of `extent`, whose elements lie `inner` apart.
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
