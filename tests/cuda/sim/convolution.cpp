#include "convolution.h"

#include <string.h>

#include <vector>

#include "elements.h"

namespace sim {
namespace {
// Adjacent elements that one instruction adds, where the host has such vectors. Most of a simulated step is this.
template <int64_t LANES> struct Lanes {
  typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
  static Vector& at(float* p) { return *(Vector*)p; }
};

// to[j] += the sum over i of factors[i] * rows[i][j], for as many of the `n` columns from `j` on as fill whole vectors.
template <int64_t LANES> int64_t add_rows(float* to, float* rows, const float* factors, int64_t count, int64_t n, int64_t j) {
  for (; j + LANES <= n; j += LANES) {
    typename Lanes<LANES>::Vector sum = {};
    for (int64_t i = 0; i < count; ++i) sum += factors[i] * Lanes<LANES>::at(rows + i * n + j);
    Lanes<LANES>::at(to + j) += sum;
  }
  return j;
}
void add_rows(float* to, float* rows, const float* factors, int64_t count, int64_t n) {
  const int64_t j = add_rows<4>(to, rows, factors, count, n, add_rows<16>(to, rows, factors, count, n, 0));
  float sums[3] = {};  // of the columns that are left
  for (int64_t i = 0; i < count; ++i)
    for (int64_t left = 0; left < n - j; ++left) sums[left] += factors[i] * rows[i * n + j + left];
  for (int64_t left = 0; left < n - j; ++left) to[j + left] += sums[left];
}

// rows[i][j] += factors[i] * row[j], likewise.
template <int64_t LANES> int64_t add_row(float* rows, float* row, const float* factors, int64_t count, int64_t n, int64_t j) {
  for (; j + LANES <= n; j += LANES) {
    const auto added = Lanes<LANES>::at(row + j);
    for (int64_t i = 0; i < count; ++i) Lanes<LANES>::at(rows + i * n + j) += factors[i] * added;
  }
  return j;
}
void add_row(float* rows, float* row, const float* factors, int64_t count, int64_t n) {
  const int64_t j = add_row<4>(rows, row, factors, count, n, add_row<16>(rows, row, factors, count, n, 0));
  for (int64_t i = 0; i < count; ++i)
    for (int64_t left = j; left < n; ++left) rows[i * n + left] += factors[i] * row[left];
}
}  // namespace

bool Geometry::consistent() const {
  const int64_t rows = (image.h + pad_top + pad_bottom - dilation_h * (filter.h - 1) - 1) / stride_h + 1;
  const int64_t columns = (image.w + pad_left + pad_right - dilation_w * (filter.w - 1) - 1) / stride_w + 1;
  return filter.c > 0 && image.c % filter.c == 0 && filter.n % (image.c / filter.c) == 0 && result.n == image.n &&
         result.c == filter.n && result.h == rows && result.w == columns && image.size == filter.size &&
         image.size == result.size;
}

Result convolve(Direction direction, const Geometry& g, uint64_t image, uint64_t filter, uint64_t result,
                uint64_t scratch, uint64_t workspace, uint64_t stream, Epilogue epilogue, double microseconds) {
  return enqueue(stream, [=] {
    if (!on_device(image, g.image.bytes()) || !on_device(filter, g.filter.bytes()) || !on_device(result, g.result.bytes())) {
      return ILLEGAL_ADDRESS;
    }
    if (workspace > 0 && !on_device(scratch, workspace)) return ILLEGAL_ADDRESS;
    memset((void*)scratch, 0xff, workspace);
    const Floats images(image, g.image.count(), g.image.size), filters(filter, g.filter.count(), g.filter.size);
    const Floats results(result, g.result.count(), g.result.size);
    float *x = images.at, *f = filters.at, *y = results.at;
    if (direction == Direction::FORWARD) memset(y, 0, 4 * g.result.count());
    if (direction == Direction::TO_IMAGE) memset(x, 0, 4 * g.image.count());
    if (direction == Direction::TO_FILTER) memset(f, 0, 4 * g.filter.count());
    const int64_t depth = g.filter.c, groups = g.image.c / depth, features = g.filter.n / groups;  // of a group
    // A matrix for each place in the filter and each group, of features and channels; or for sums over channels, the reverse.
    const bool forward = direction == Direction::FORWARD;
    const int64_t places = g.filter.h * g.filter.w, matrix = features * depth;
    std::vector<float> matrices(g.filter.count());
    const auto at = [&](int64_t k, int64_t place, int64_t c) -> float& {
      const int64_t row = k % features;
      return matrices[(place * groups + k / features) * matrix + (forward ? c * features + row : row * depth + c)];
    };
    for (int64_t k = 0; k < g.filter.n; ++k)
      for (int64_t place = 0; place < places; ++place)
        for (int64_t c = 0; c < depth; ++c) at(k, place, c) = f[(k * places + place) * depth + c];
    for (int64_t n = 0; n < g.result.n; ++n)
      for (int64_t p = 0; p < g.result.h; ++p)
        for (int64_t q = 0; q < g.result.w; ++q)
          for (int64_t r = 0; r < g.filter.h; ++r) {
            const int64_t h = p * g.stride_h + r * g.dilation_h - g.pad_top;
            if (h < 0 || h >= g.image.h) continue;
            for (int64_t s = 0; s < g.filter.w; ++s) {
              const int64_t w = q * g.stride_w + s * g.dilation_w - g.pad_left;
              if (w < 0 || w >= g.image.w) continue;
              for (int64_t group = 0; group < groups; ++group) {
                float* xs = x + ((n * g.image.h + h) * g.image.w + w) * g.image.c + group * depth;
                float* ys = y + ((n * g.result.h + p) * g.result.w + q) * g.result.c + group * features;
                float* fs = matrices.data() + ((r * g.filter.w + s) * groups + group) * matrix;
                switch (direction) {
                  case Direction::FORWARD: add_rows(ys, fs, xs, depth, features); break;
                  case Direction::TO_IMAGE: add_rows(xs, fs, ys, features, depth); break;
                  case Direction::TO_FILTER: add_row(fs, xs, ys, features, depth); break;
                }
              }
            }
          }
    if (direction == Direction::TO_FILTER) {
      for (int64_t k = 0; k < g.filter.n; ++k)
        for (int64_t place = 0; place < places; ++place)
          for (int64_t c = 0; c < depth; ++c) f[(k * places + place) * depth + c] = at(k, place, c);
    }
    if (epilogue.bias && !on_device(epilogue.bias, g.result.size * g.result.c)) return ILLEGAL_ADDRESS;
    const Floats bias(epilogue.bias, epilogue.bias ? g.result.c : 0, g.result.size);
    for (uint64_t i = 0; i < g.result.count(); ++i) {
      if (epilogue.bias) y[i] += bias.at[i % g.result.c];
      if (epilogue.relu && y[i] < 0) y[i] = 0;
    }
    (direction == Direction::FORWARD ? results : direction == Direction::TO_IMAGE ? images : filters).write_back();
    memset((void*)scratch, 0xff, workspace);
    return SUCCESS;
  }, microseconds);
}

}  // namespace sim
