// Sums may be reordered here to vectorise them; the tolerances of the tests allow it.
#pragma GCC optimize("O3", "associative-math", "no-signed-zeros", "no-trapping-math")
#include "convolution.h"

#include <string.h>

#include "elements.h"

namespace sim {

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
    const int64_t depth = g.filter.c, features = g.filter.n / (g.image.c / depth);  // per group
    for (int64_t n = 0; n < g.result.n; ++n)
      for (int64_t p = 0; p < g.result.h; ++p)
        for (int64_t q = 0; q < g.result.w; ++q)
          for (int64_t r = 0; r < g.filter.h; ++r) {
            const int64_t h = p * g.stride_h + r * g.dilation_h - g.pad_top;
            if (h < 0 || h >= g.image.h) continue;
            for (int64_t s = 0; s < g.filter.w; ++s) {
              const int64_t w = q * g.stride_w + s * g.dilation_w - g.pad_left;
              if (w < 0 || w >= g.image.w) continue;
              for (int64_t k = 0; k < g.filter.n; ++k) {
                float* xs = x + ((n * g.image.h + h) * g.image.w + w) * g.image.c + k / features * depth;
                float* fs = f + ((k * g.filter.h + r) * g.filter.w + s) * depth;
                float& ys = y[((n * g.result.h + p) * g.result.w + q) * g.result.c + k];
                float sum = 0;
                switch (direction) {
                  case Direction::FORWARD:
                    for (int64_t c = 0; c < depth; ++c) sum += xs[c] * fs[c];
                    ys += sum;
                    break;
                  case Direction::TO_IMAGE:
                    for (int64_t c = 0; c < depth; ++c) xs[c] += ys * fs[c];
                    break;
                  case Direction::TO_FILTER:
                    for (int64_t c = 0; c < depth; ++c) fs[c] += ys * xs[c];
                    break;
                }
              }
            }
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
