// Simple convolutions of NHWC images and KRSC filters, for both of cuDNN's interfaces.
#pragma once
#include <stdint.h>

#include "sim.h"

namespace sim {

struct Tensor4 {
  int64_t n = 0, c = 0, h = 0, w = 0;
  int64_t size = 4;  // bytes of an element: 4, or 2 for bfloat16
  uint64_t count() const { return n * c * h * w; }
  uint64_t bytes() const { return size * count(); }
};

struct Geometry {
  Tensor4 image, filter, result;  // a filter's n is its number of features
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  // Tests whether the extents and the element types are consistent.
  bool consistent() const;
};

enum class Direction { FORWARD, TO_IMAGE, TO_FILTER };

// Operations on the result: adding a bias, one element for each channel, unless its address is 0; ReLU.
struct Epilogue {
  uint64_t bias = 0;
  bool relu = false;
};

// Queues a convolution on a stream; it overwrites `scratch`, as a real engine would. It is said to take so many microseconds.
Result convolve(Direction direction, const Geometry& geometry, uint64_t image, uint64_t filter, uint64_t result,
                uint64_t scratch, uint64_t workspace, uint64_t stream, Epilogue epilogue = {},
                double microseconds = 1);

}  // namespace sim
