// Bilinear resize of NHWC images and its gradient. Each thread computes G::lanes channels of one pixel that it writes.
// G: height, width (the source of the resize), rows, columns (its result), scale_height(), scale_width() (source pixels
// per result pixel), align_corners, channels, lanes, count.

// The position of result pixel `i` along a source axis of `extent` pixels: the pixel before it, and the distance past
// that pixel.
template <bool ALIGN> DEVICE void source(int i, int extent, float scale, int& low, float& past) {
  const float position = ALIGN ? i * scale : greater(0.0f, (i + 0.5f) * scale - 0.5f);
  low = lesser((int)position, extent - 1);
  past = position - low;
}

template <class G, class T> DEVICE void resize(const T* x, T* y) {
  constexpr int V = G::lanes;
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  const u32 c = id % (G::channels / V) * V;
  u32 rest = id / (G::channels / V);
  const int column = rest % G::columns;
  rest /= G::columns;
  const int row = rest % G::rows;
  const u32 n = rest / G::rows;
  int top, left;
  float down, across;
  source<G::align_corners>(row, G::height, G::scale_height(), top, down);
  source<G::align_corners>(column, G::width, G::scale_width(), left, across);
  const int bottom = lesser(top + 1, G::height - 1), right = lesser(left + 1, G::width - 1);
  const T* image = x + n * G::height * G::width * G::channels + c;
  const Vec<T, V> a = load<V>(image + (top * G::width + left) * G::channels);
  const Vec<T, V> b = load<V>(image + (top * G::width + right) * G::channels);
  const Vec<T, V> d = load<V>(image + (bottom * G::width + left) * G::channels);
  const Vec<T, V> e = load<V>(image + (bottom * G::width + right) * G::channels);
  Vec<float, V> result;
  UNROLL for (int i = 0; i < V; ++i) {
    result.at[i] = (1 - down) * ((1 - across) * widen(a.at[i]) + across * widen(b.at[i])) +
                   down * ((1 - across) * widen(d.at[i]) + across * widen(e.at[i]));
  }
  store(y + id * V, narrowed<T>(result));
}

// A range that contains all result pixels along an axis that depend on source pixel `i`.
template <bool ALIGN> DEVICE void users(int i, int results, float scale, int& first, int& last) {
  const float before = ALIGN ? i - 1.0f : i - 0.5f, after = ALIGN ? i + 1.0f : i + 1.5f;
  const float shift = ALIGN ? 0.0f : 0.5f;
  first = scale > 0 ? greater(0, (int)(before / scale - shift) - 1) : 0;
  last = scale > 0 ? lesser(results - 1, (int)(after / scale - shift) + 1) : results - 1;
}

// The most of `results` pixels along an axis that can depend on one of `extent` source pixels.
DEVICE constexpr u32 most_users(u32 extent, u32 results) {
  return extent == 1 || 2 * results / (extent - 1) + 3 > results ? results : 2 * results / (extent - 1) + 3;
}

// The weight of source pixel `of` in result pixel `i`.
template <bool ALIGN> DEVICE float share(int i, int of, int extent, float scale) {
  int low;
  float past;
  source<ALIGN>(i, extent, scale, low, past);
  return (low == of ? 1 - past : 0.0f) + (lesser(low + 1, extent - 1) == of ? past : 0.0f);
}

template <class G, class T> DEVICE void resize_gradient(const T* dy, T* dx) {
  constexpr int V = G::lanes;
  const u32 id = block() * THREADS + thread();
  if (id >= G::count) return;
  const u32 c = id % (G::channels / V) * V;
  u32 rest = id / (G::channels / V);
  const int w = rest % G::width;
  rest /= G::width;
  const int h = rest % G::height;
  const u32 n = rest / G::height;
  int first_row, last_row, first_column, last_column;
  users<G::align_corners>(h, G::rows, G::scale_height(), first_row, last_row);
  users<G::align_corners>(w, G::columns, G::scale_width(), first_column, last_column);
  LongSum<V, most_users(G::height, G::rows) * most_users(G::width, G::columns)> sum;
  for (int row = first_row; row <= last_row; ++row) {
    const float vertical = share<G::align_corners>(row, h, G::height, G::scale_height());
    if (vertical == 0) continue;
    for (int column = first_column; column <= last_column; ++column) {
      const float weight = vertical * share<G::align_corners>(column, w, G::width, G::scale_width());
      if (weight == 0) continue;
      Vec<float, V> d = widened(load<V>(dy + ((n * G::rows + row) * G::columns + column) * G::channels + c));
      UNROLL for (int e = 0; e < V; ++e) d.at[e] *= weight;
      sum.add(d);
    }
  }
  store(dx + id * V, narrowed<T>(sum.total()));
}
