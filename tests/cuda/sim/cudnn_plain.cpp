// The part of cuDNN's legacy API in use: convolutions.
#include "constants.h"
#include "convolution.h"

using namespace sim;

namespace sim {
uint64_t stream_of(uint64_t cudnn_handle);
}

namespace {
enum { OK = 0, BAD = 2000, FAILED = 5001 };
struct Convolution { Geometry geometry; int groups = 1, math = 0; };
struct Result48 { int algorithm, status; float time; int pad; uint64_t workspace; int deterministic, math, reserved[3], tail; };
static_assert(sizeof(Result48) == 48);

Handles<Tensor4> tensors, filters;
Handles<Convolution> convolutions;
Book b1("tensor descriptors", [] { return tensors.alive.size(); });
Book b2("filter descriptors", [] { return filters.alive.size(); });
Book b3("convolution descriptors", [] { return convolutions.alive.size(); });

int64_t size_of(int type) { return type == CUDNN_DATA_FLOAT ? 4 : type == CUDNN_DATA_BFLOAT16 ? 2 : 0; }

// The geometry of three descriptors, if they are consistent.
bool gather(uint64_t image, uint64_t filter, uint64_t result, uint64_t convolution, Geometry& g) {
  if (!tensors.get(image) || !filters.get(filter) || !tensors.get(result) || !convolutions.get(convolution)) return false;
  g = convolutions.get(convolution)->geometry;
  g.image = *tensors.get(image), g.filter = *filters.get(filter), g.result = *tensors.get(result);
  return g.consistent() && g.image.c == g.filter.c * convolutions.get(convolution)->groups;
}

int offer(const Geometry& g, uint64_t convolution, int requested, int* count, Result48* results) {
  if (requested < 2) return BAD;
  const int math = convolutions.get(convolution)->math;
  // One that is not deterministic, one that needs much scratch, one that needs none.
  results[0] = {0, OK, 1, 0, 0, 0, math, {}, 0};
  results[1] = {1, OK, 2, 0, g.image.bytes(), 1, math, {}, 0};
  results[2] = {6, OK, 3, 0, 0, 1, math, {}, 0};
  *count = 3;
  return OK;
}

int run(Direction direction, uint64_t handle, const Geometry& g, uint64_t image, uint64_t filter, uint64_t result, int algorithm,
        uint64_t scratch, uint64_t workspace, const float* alpha, const float* beta) {
  const uint64_t needs = algorithm == 1 ? g.image.bytes() : 0;
  if (*alpha != 1 || *beta != 0 || workspace < needs || (algorithm != 1 && algorithm != 6)) return BAD;
  if (fails("convolution")) return FAILED;
  return convolve(direction, g, image, filter, result, scratch, needs, stream_of(handle)) == SUCCESS ? OK : FAILED;
}
}  // namespace

EXPORT int cudnnCreateTensorDescriptor(uint64_t* d) { return *d = tensors.add(std::make_unique<Tensor4>()), OK; }
EXPORT int cudnnDestroyTensorDescriptor(uint64_t d) { return tensors.remove(d) ? OK : BAD; }
EXPORT int cudnnSetTensor4dDescriptorEx(uint64_t d, int type, int n, int c, int h, int w, int sn, int sc, int sh, int sw) {
  if (!tensors.get(d) || !size_of(type) || sc != 1 || sw != c || sh != w * c || sn != h * w * c) return BAD;
  *tensors.get(d) = {n, c, h, w, size_of(type)};
  return OK;
}
EXPORT int cudnnCreateFilterDescriptor(uint64_t* d) { return *d = filters.add(std::make_unique<Tensor4>()), OK; }
EXPORT int cudnnDestroyFilterDescriptor(uint64_t d) { return filters.remove(d) ? OK : BAD; }
EXPORT int cudnnSetFilter4dDescriptor(uint64_t d, int type, int format, int k, int c, int h, int w) {
  if (!filters.get(d) || !size_of(type) || format != CUDNN_TENSOR_NHWC) return BAD;
  *filters.get(d) = {k, c, h, w, size_of(type)};
  return OK;
}
EXPORT int cudnnCreateConvolutionDescriptor(uint64_t* d) { return *d = convolutions.add(std::make_unique<Convolution>()), OK; }
EXPORT int cudnnDestroyConvolutionDescriptor(uint64_t d) { return convolutions.remove(d) ? OK : BAD; }
EXPORT int cudnnSetConvolution2dDescriptor(uint64_t d, int ph, int pw, int u, int v, int dh, int dw, int mode, int type) {
  if (!convolutions.get(d) || mode != CUDNN_CROSS_CORRELATION || type != CUDNN_DATA_FLOAT) return BAD;
  Geometry& g = convolutions.get(d)->geometry;
  g.pad_top = g.pad_bottom = ph, g.pad_left = g.pad_right = pw;
  g.stride_h = u, g.stride_w = v, g.dilation_h = dh, g.dilation_w = dw;
  return OK;
}
EXPORT int cudnnSetConvolutionGroupCount(uint64_t d, int groups) {
  return convolutions.get(d) ? (convolutions.get(d)->groups = groups, OK) : BAD;
}
EXPORT int cudnnSetConvolutionMathType(uint64_t d, int math) {
  return convolutions.get(d) ? (convolutions.get(d)->math = math, OK) : BAD;
}
EXPORT int cudnnGetConvolutionForwardAlgorithm_v7(uint64_t, uint64_t x, uint64_t w, uint64_t c, uint64_t y, int n, int* count, Result48* r) {
  Geometry g;
  return gather(x, w, y, c, g) ? offer(g, c, n, count, r) : BAD;
}
EXPORT int cudnnGetConvolutionBackwardDataAlgorithm_v7(uint64_t, uint64_t w, uint64_t dy, uint64_t c, uint64_t dx, int n, int* count, Result48* r) {
  Geometry g;
  return gather(dx, w, dy, c, g) ? offer(g, c, n, count, r) : BAD;
}
EXPORT int cudnnGetConvolutionBackwardFilterAlgorithm_v7(uint64_t, uint64_t x, uint64_t dy, uint64_t c, uint64_t dw, int n, int* count, Result48* r) {
  Geometry g;
  return gather(x, dw, dy, c, g) ? offer(g, c, n, count, r) : BAD;
}
EXPORT int cudnnConvolutionForward(uint64_t handle, const float* alpha, uint64_t xd, uint64_t x, uint64_t wd, uint64_t w, uint64_t c,
                                   int algorithm, uint64_t scratch, size_t size, const float* beta, uint64_t yd, uint64_t y) {
  Geometry g;
  return gather(xd, wd, yd, c, g) ? run(Direction::FORWARD, handle, g, x, w, y, algorithm, scratch, size, alpha, beta) : BAD;
}
EXPORT int cudnnConvolutionBackwardData(uint64_t handle, const float* alpha, uint64_t wd, uint64_t w, uint64_t yd, uint64_t dy, uint64_t c,
                                        int algorithm, uint64_t scratch, size_t size, const float* beta, uint64_t xd, uint64_t dx) {
  Geometry g;
  return gather(xd, wd, yd, c, g) ? run(Direction::TO_IMAGE, handle, g, dx, w, dy, algorithm, scratch, size, alpha, beta) : BAD;
}
EXPORT int cudnnConvolutionBackwardFilter(uint64_t handle, const float* alpha, uint64_t xd, uint64_t x, uint64_t yd, uint64_t dy, uint64_t c,
                                          int algorithm, uint64_t scratch, size_t size, const float* beta, uint64_t wd, uint64_t dw) {
  Geometry g;
  return gather(xd, wd, yd, c, g) ? run(Direction::TO_FILTER, handle, g, x, dw, dy, algorithm, scratch, size, alpha, beta) : BAD;
}
