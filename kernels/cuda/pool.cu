// Pooling of NHWC images and its gradients. Each thread computes G::lanes channels of one pixel that it writes.
// G: height, width (image), rows, columns (pooled), window_height, window_width, stride_height, stride_width, pad_top,
// pad_left, channels, lanes, count.

// For each lane, the first maximum of the window at (row, column): its index in the image, and its value.
template <class G, class T> DEVICE void find_maximum(const T* image, u32 n, u32 row, u32 column, u32 c, u32* at, float* best) {
  constexpr int V = G::lanes;
  UNROLL for (int e = 0; e < V; ++e) at[e] = ~0u;
  for (int r = 0; r < G::window_height; ++r) {
    const int h = (int)row * G::stride_height + r - G::pad_top;
    if (h < 0 || h >= G::height) continue;
    for (int s = 0; s < G::window_width; ++s) {
      const int w = (int)column * G::stride_width + s - G::pad_left;
      if (w < 0 || w >= G::width) continue;
      const u32 pixel = ((n * G::height + h) * G::width + w) * G::channels + c;
      const Vec<T, V> run = load<V>(image + pixel);
      UNROLL for (int e = 0; e < V; ++e) {
        const float x = widen(run.at[e]);
        if (at[e] == ~0u || is_greater(x, best[e])) at[e] = pixel + e, best[e] = x;
      }
    }
  }
}

template <class G> DEVICE bool result_pixel(u32 count, u32& id, u32& n, u32& row, u32& column, u32& c) {
  id = block() * THREADS + thread();
  if (id >= count) return false;
  u32 rest = id / (G::channels / G::lanes);
  c = id % (G::channels / G::lanes) * G::lanes;
  column = rest % G::columns, rest /= G::columns;
  row = rest % G::rows, n = rest / G::rows;
  return true;
}

// y = x at each window's first maximum.
template <class G, class T> DEVICE void max_pool_pick(const T* image, const T* x, T* y) {
  constexpr int V = G::lanes;
  u32 id, n, row, column, c, at[V];
  float best[V];
  if (!result_pixel<G>(G::count, id, n, row, column, c)) return;
  find_maximum<G>(image, n, row, column, c, at, best);
  Vec<T, V> result;
  UNROLL for (int e = 0; e < V; ++e) result.at[e] = x[at[e]];
  store(y + id * V, result);
}

template <class G, class T> DEVICE void max_pool(const T* image, T* y) {
  constexpr int V = G::lanes;
  u32 id, n, row, column, c, at[V];
  Vec<float, V> best;
  if (!result_pixel<G>(G::count, id, n, row, column, c)) return;
  find_maximum<G>(image, n, row, column, c, at, best.at);
  store(y + id * V, narrowed<T>(best));
}

template <class G, int V> DEVICE Vec<float, V> averaged(Vec<float, V> sum) {
  constexpr float area = G::window_height * G::window_width;
  UNROLL for (int e = 0; e < V; ++e) sum.at[e] /= area;
  return sum;
}

template <class G, class T> DEVICE void average_pool(const T* image, T* y) {
  constexpr int V = G::lanes;
  u32 id, n, row, column, c;
  if (!result_pixel<G>(G::count, id, n, row, column, c)) return;
  LongSum<V, G::window_height * G::window_width> sum;
  for (int r = 0; r < G::window_height; ++r) {
    const int h = (int)row * G::stride_height + r - G::pad_top;
    if (h < 0 || h >= G::height) continue;
    for (int s = 0; s < G::window_width; ++s) {
      const int w = (int)column * G::stride_width + s - G::pad_left;
      if (w < 0 || w >= G::width) continue;
      sum.add(widened(load<V>(image + ((n * G::height + h) * G::width + w) * G::channels + c)));
    }
  }
  store(y + id * V, narrowed<T>(averaged<G>(sum.total())));
}

// The first and the last window along an axis that contain pixel `i`.
DEVICE int first_window(int i, int window, int stride, int pad) {
  const int beyond = i + pad - window;
  return beyond < 0 ? 0 : beyond / stride + 1;
}
DEVICE int last_window(int i, int stride, int pad, int windows) {
  return lesser((i + pad) / stride, windows - 1);
}

// The gradient to the image. Each pixel sums the windows that contain it, in order.
template <class G, bool MAXIMUM, class T> DEVICE void pool_gradient(const T* image, const T* dy, T* dx) {
  constexpr int V = G::lanes;
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  const u32 c = id % (G::channels / V) * V;
  u32 rest = id / (G::channels / V);
  const int w = rest % G::width;
  rest /= G::width;
  const int h = rest % G::height;
  const u32 n = rest / G::height;
  constexpr int down = (G::window_height + G::stride_height - 1) / G::stride_height;
  constexpr int across = (G::window_width + G::stride_width - 1) / G::stride_width;
  LongSum<V, (down < G::rows ? down : G::rows) * (across < G::columns ? across : G::columns)> sum;
  const int last_row = last_window(h, G::stride_height, G::pad_top, G::rows);
  const int last_column = last_window(w, G::stride_width, G::pad_left, G::columns);
  for (int row = first_window(h, G::window_height, G::stride_height, G::pad_top); row <= last_row; ++row) {
    for (int q = first_window(w, G::window_width, G::stride_width, G::pad_left); q <= last_column; ++q) {
      Vec<float, V> d = widened(load<V>(dy + ((n * G::rows + row) * G::columns + q) * G::channels + c));
      if (MAXIMUM) {
        u32 at[V];
        float best[V];
        find_maximum<G>(image, n, row, q, c, at, best);
        UNROLL for (int e = 0; e < V; ++e) if (at[e] != id * V + e) d.at[e] = 0.0f;
      }
      sum.add(d);
    }
  }
  store(dx + id * V, narrowed<T>(MAXIMUM ? sum.total() : averaged<G>(sum.total())));
}

// The gradient of average pooling reads no image.
template <class G, class T> DEVICE void average_pool_gradient(const T* dy, T* dx) {
  pool_gradient<G, false>((const T*)nullptr, dy, dx);
}
