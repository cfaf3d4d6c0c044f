// The part of cuBLASLt in use: column-major products in single precision or of bfloat16, with batches, bias and ReLU.
#include <string.h>

#include <algorithm>

#include "constants.h"
#include "elements.h"
#include "sim.h"

using namespace sim;

namespace {
enum { OK = 0, NOT_INITIALIZED_ = 1, INVALID = 7, FAILED = 13, UNSUPPORTED = 15 };

struct Layout { int type; uint64_t rows, columns; int64_t leading; int32_t batch = 1; int64_t stride = 0; };
struct Product { int compute; int32_t transA = 0, transB = 0, epilogue = CUBLASLT_EPILOGUE_DEFAULT; uint64_t bias = 0; };
struct Preference { uint64_t workspace = 0; };
struct Handle {};
struct Algorithm { uint64_t magic, workspace, unused[6]; };
struct Found { Algorithm algorithm; size_t workspace; int status; float waves; int reserved[4]; };
constexpr uint64_t MAGIC = 0x616c676f;

Handles<Handle> handles;
Handles<Layout> layouts;
Handles<Product> products;
Handles<Preference> preferences;
Book b1("cublasLt handles", [] { return handles.alive.size(); });
Book b2("matrix layouts", [] { return layouts.alive.size(); });
Book b3("product descriptors", [] { return products.alive.size(); });
Book b4("preferences", [] { return preferences.alive.size(); });

bool fit(const Product& p, const Layout& a, const Layout& b, const Layout& d) {
  const uint64_t m = p.transA ? a.columns : a.rows, k = p.transA ? a.rows : a.columns;
  const uint64_t k2 = p.transB ? b.columns : b.rows, n = p.transB ? b.rows : b.columns;
  return m == d.rows && n == d.columns && k == k2 && a.batch == b.batch && a.batch == d.batch &&
         a.leading >= (int64_t)a.rows && b.leading >= (int64_t)b.rows && d.leading >= (int64_t)d.rows;
}

// Tests whether products of these types are supported: tf32 for floats only, and results of their operands' type.
bool supported(const Product& p, const Layout& a, const Layout& b, const Layout& d) {
  return a.type == b.type && a.type == d.type && (a.type == CUDA_R_32F || p.compute == CUBLAS_COMPUTE_32F);
}

int64_t size_of(const Layout& l) { return l.type == CUDA_R_32F ? 4 : 2; }
uint64_t count(const Layout& l) { return (l.batch - 1) * l.stride + (l.columns - 1) * l.leading + l.rows; }
uint64_t bytes(const Layout& l) { return size_of(l) * count(l); }
}  // namespace

EXPORT size_t cublasLtGetVersion() { return 130000; }
EXPORT size_t cublasLtGetCudartVersion() {
  const char* wanted = getenv("LOCALGRAD_SIM_CUBLAS");
  return wanted ? atoi(wanted) : 13000;
}
EXPORT const char* cublasLtGetStatusName(int status) {
  switch (status) {
    case OK: return "CUBLAS_STATUS_SUCCESS";
    case NOT_INITIALIZED_: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case INVALID: return "CUBLAS_STATUS_INVALID_VALUE";
    case FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case UNSUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "CUBLAS_STATUS unknown";
  }
}
EXPORT const char* cublasLtGetStatusString(int status) { return cublasLtGetStatusName(status); }
EXPORT int cublasLtCreate(uint64_t* handle) {
  if (fails("cublas")) return NOT_INITIALIZED_;
  return *handle = handles.add(std::make_unique<Handle>()), OK;
}
EXPORT int cublasLtDestroy(uint64_t handle) { return handles.remove(handle) ? OK : INVALID; }

EXPORT int cublasLtMatmulDescCreate(uint64_t* product, int compute, int scale) {
  if ((compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32) || scale != CUDA_R_32F) return INVALID;
  return *product = products.add(std::unique_ptr<Product>(new Product{compute})), OK;
}
EXPORT int cublasLtMatmulDescDestroy(uint64_t product) { return products.remove(product) ? OK : INVALID; }
EXPORT int cublasLtMatmulDescSetAttribute(uint64_t handle, int attribute, const void* data, size_t size) {
  Product* product = products.get(handle);
  if (!product) return INVALID;
  if (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER) return size == 8 ? (memcpy(&product->bias, data, 8), OK) : INVALID;
  if (size != 4) return INVALID;
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return memcpy(&product->transA, data, 4), OK;
    case CUBLASLT_MATMUL_DESC_TRANSB: return memcpy(&product->transB, data, 4), OK;
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return memcpy(&product->epilogue, data, 4), OK;
    default: return INVALID;
  }
}
EXPORT int cublasLtMatrixLayoutCreate(uint64_t* layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  if ((type != CUDA_R_32F && type != CUDA_R_16BF) || leading < (int64_t)rows) return INVALID;
  return *layout = layouts.add(std::unique_ptr<Layout>(new Layout{type, rows, columns, leading})), OK;
}
EXPORT int cublasLtMatrixLayoutDestroy(uint64_t layout) { return layouts.remove(layout) ? OK : INVALID; }
EXPORT int cublasLtMatrixLayoutSetAttribute(uint64_t handle, int attribute, const void* data, size_t size) {
  Layout* layout = layouts.get(handle);
  if (!layout) return INVALID;
  if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT && size == 4) return memcpy(&layout->batch, data, 4), OK;
  if (attribute == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET && size == 8) return memcpy(&layout->stride, data, 8), OK;
  return INVALID;
}
EXPORT int cublasLtMatmulPreferenceCreate(uint64_t* preference) {
  return *preference = preferences.add(std::make_unique<Preference>()), OK;
}
EXPORT int cublasLtMatmulPreferenceDestroy(uint64_t preference) { return preferences.remove(preference) ? OK : INVALID; }
EXPORT int cublasLtMatmulPreferenceSetAttribute(uint64_t handle, int attribute, const void* data, size_t size) {
  Preference* preference = preferences.get(handle);
  if (!preference || attribute != CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES || size != 8) return INVALID;
  return memcpy(&preference->workspace, data, 8), OK;
}
EXPORT int cublasLtMatmulAlgoGetHeuristic(uint64_t handle, uint64_t product, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                          uint64_t preference, int requested, Found* found, int* count) {
  *count = 0;
  if (!handles.get(handle) || !products.get(product) || !preferences.get(preference) || requested < 1) return INVALID;
  if (!layouts.get(a) || !layouts.get(b) || !layouts.get(c) || !layouts.get(d)) return INVALID;
  if (!fit(*products.get(product), *layouts.get(a), *layouts.get(b), *layouts.get(d))) return INVALID;
  // Stricter than documented: real ones may refuse a single row, column or term, so none must get here.
  const Layout& result = *layouts.get(d);
  const uint64_t terms = products.get(product)->transA ? layouts.get(a)->rows : layouts.get(a)->columns;
  if (result.rows == 1 || result.columns == 1 || terms == 1) return INVALID;
  if (products.get(product)->epilogue != CUBLASLT_EPILOGUE_DEFAULT && fails("epilogue")) return UNSUPPORTED;
  if (fails("product") || !supported(*products.get(product), *layouts.get(a), *layouts.get(b), *layouts.get(d))) return UNSUPPORTED;
  // Stricter than documented: an epilogue's bias must be set by now.
  if (products.get(product)->epilogue & CUBLASLT_EPILOGUE_BIAS && !products.get(product)->bias) return UNSUPPORTED;
  for (; *count < std::min(requested, 2); ++*count, ++found) {
    memset(found, 0, sizeof(Found));
    found->workspace = std::min<uint64_t>(preferences.get(preference)->workspace, 65536);
    found->algorithm = {MAGIC, found->workspace, {}};
  }
  return OK;
}
EXPORT int cublasLtMatmul(uint64_t handle, uint64_t descriptor, const float* alpha, uint64_t A, uint64_t a, uint64_t B, uint64_t b,
                          const float* beta, uint64_t C, uint64_t c, uint64_t D, uint64_t d, const Algorithm* algorithm,
                          uint64_t scratch, size_t workspace, uint64_t stream) {
  if (!handles.get(handle) || !products.get(descriptor) || !algorithm || algorithm->magic != MAGIC) return INVALID;
  if (!layouts.get(a) || !layouts.get(b) || !layouts.get(c) || !layouts.get(d)) return INVALID;
  if (*alpha != 1 || *beta != 0 || C != D || workspace < algorithm->workspace) return INVALID;
  if (fails("multiply")) return FAILED;
  const Product p = *products.get(descriptor);
  const Layout la = *layouts.get(a), lb = *layouts.get(b), ld = *layouts.get(d);
  if (!fit(p, la, lb, ld)) return INVALID;
  if (!supported(p, la, lb, ld)) return UNSUPPORTED;
  const bool bias = p.epilogue & CUBLASLT_EPILOGUE_BIAS, relu = p.epilogue & CUBLASLT_EPILOGUE_RELU;
  const Result result = enqueue(stream, [=] {
    if (!on_device(A, bytes(la)) || !on_device(B, bytes(lb)) || !on_device(D, bytes(ld))) return ILLEGAL_ADDRESS;
    if (!on_device(scratch, workspace) || (bias && !on_device(p.bias, size_of(ld) * ld.rows))) return ILLEGAL_ADDRESS;
    memset((void*)scratch, 0xff, workspace);  // detects values in use there, before and after
    const Floats left(A, count(la), size_of(la)), right(B, count(lb), size_of(lb)), result(D, count(ld), size_of(ld));
    const Floats added(p.bias, bias ? ld.rows : 0, size_of(ld));
    const uint64_t k = p.transA ? la.rows : la.columns;
    for (int32_t g = 0; g < ld.batch; ++g) {
      const float* x = left.at + g * la.stride;
      const float* y = right.at + g * lb.stride;
      float* z = result.at + g * ld.stride;
      for (uint64_t j = 0; j < ld.columns; ++j) {
        for (uint64_t i = 0; i < ld.rows; ++i) {
          float sum = 0;
          for (uint64_t l = 0; l < k; ++l) {
            sum += (p.transA ? x[i * la.leading + l] : x[l * la.leading + i]) *
                   (p.transB ? y[l * lb.leading + j] : y[j * lb.leading + l]);
          }
          if (bias) sum += added.at[i];
          z[j * ld.leading + i] = relu && sum < 0 ? 0 : sum;
        }
      }
    }
    result.write_back();
    memset((void*)scratch, 0xff, workspace);
    return SUCCESS;
  });
  return result == SUCCESS ? OK : FAILED;
}
