// Kernels that only move elements, as words of 4 bytes, or of 2 for bf16.

// Zeros around an operand and between its elements. G: rank, count, lanes; for each axis: shape(a) of the result,
// low(a), step(a) from one element of the operand to the next, extent(a) and stride(a) of the operand. The last axis is
// counted in runs of `lanes`.
template <class G, class T> DEVICE void pad(const T* x, T* y) {
  constexpr int V = G::lanes;
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  u32 rest = id, from = 0;
  bool inside = true;
  UNROLL for (int a = G::rank - 1; a >= 0; --a) {
    const u32 i = rest % G::shape(a);
    rest /= G::shape(a);
    const u32 past = i - G::low(a); // wraps if i < low, and is then out of range
    inside = inside && i >= G::low(a) && past % G::step(a) == 0 && past / G::step(a) < G::extent(a);
    from += past / G::step(a) * G::stride(a);
  }
  Vec<T, V> v = filled<V>(T{});
  if (inside) v = load<V>(x + (size_t)from * V);
  store(y + (size_t)id * V, v);
}

// One operand of a concatenation. Copies rows of `columns` elements into rows of `row` elements, from `offset` on.
// G: columns, row, offset, lanes, count.
template <class G, class T> DEVICE void copy_block(const T* x, T* y) {
  constexpr int V = G::lanes;
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  constexpr u32 runs = G::columns / V;
  const Vec<T, V> v = load<V>(x + (size_t)id * V);
  store(y + (size_t)(id / runs) * G::row + G::offset + id % runs * V, v);
}
