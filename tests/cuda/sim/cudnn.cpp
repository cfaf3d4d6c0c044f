// The part of cuDNN's graph API in use: graphs of a convolution, perhaps followed by a bias and a ReLU. As in the real
// library, attributes must have the right type and number, be set before finalisation and read after it, and none may
// be missing.
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "constants.h"
#include "convolution.h"

using namespace sim;

namespace {
enum {
  OK = 0, NOT_INITIALIZED_ = 1001, BAD = 2000, NULL_POINTER = 2002, NOT_FINALIZED = 2004, SMALL = 2006,
  SHAPES = 2008, ATTRIBUTE_TYPE = 2010, UNSUPPORTED = 3000, FAILED = 5001,
};

struct Attribute { int type; int64_t count; std::vector<char> data; };
struct Descriptor {
  int type;
  bool final = false;
  std::map<int, Attribute> attributes;
};
struct Handle { uint64_t stream = 0; };

Handles<Descriptor> descriptors;
Handles<Handle> handles;
Book b1("cudnn descriptors", [] { return descriptors.alive.size(); });
Book b2("cudnn handles", [] { return handles.alive.size(); });
std::string last_error;

int refuse(int status, const std::string& why) { return last_error = why, status; }

const std::map<int, size_t> sizes = {
    {CUDNN_TYPE_HANDLE, 8}, {CUDNN_TYPE_DATA_TYPE, 4}, {CUDNN_TYPE_BOOLEAN, 1}, {CUDNN_TYPE_INT64, 8},
    {CUDNN_TYPE_FLOAT, 4}, {CUDNN_TYPE_VOID_PTR, 8}, {CUDNN_TYPE_CONVOLUTION_MODE, 4}, {CUDNN_TYPE_HEUR_MODE, 4},
    {CUDNN_TYPE_NUMERICAL_NOTE, 4}, {CUDNN_TYPE_POINTWISE_MODE, 4}, {CUDNN_TYPE_BACKEND_DESCRIPTOR, 8},
};

// The attributes of each descriptor, with their types and counts, or a minimum and a maximum. All but optional ones
// must be set.
struct Rule { int name, type; int64_t count, most = 0; bool optional = false; };
constexpr int DESC = CUDNN_TYPE_BACKEND_DESCRIPTOR, I64 = CUDNN_TYPE_INT64, PTR = CUDNN_TYPE_VOID_PTR;
#define CONVOLUTION_RULES(direction, image, filter, result)                  \
  {{CUDNN_ATTR_OPERATION_CONVOLUTION_##direction##_CONV_DESC, DESC, 1},      \
   {CUDNN_ATTR_OPERATION_CONVOLUTION_##direction##_##image, DESC, 1},        \
   {CUDNN_ATTR_OPERATION_CONVOLUTION_##direction##_##filter, DESC, 1},       \
   {CUDNN_ATTR_OPERATION_CONVOLUTION_##direction##_##result, DESC, 1},       \
   {CUDNN_ATTR_OPERATION_CONVOLUTION_##direction##_ALPHA, CUDNN_TYPE_FLOAT, 1}, \
   {CUDNN_ATTR_OPERATION_CONVOLUTION_##direction##_BETA, CUDNN_TYPE_FLOAT, 1}}
const std::map<int, std::vector<Rule>> rules = {
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR,
     {{CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1}, {CUDNN_ATTR_TENSOR_DIMENSIONS, I64, 4},
      {CUDNN_ATTR_TENSOR_STRIDES, I64, 4}, {CUDNN_ATTR_TENSOR_UNIQUE_ID, I64, 1}, {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, I64, 1}, {CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, 1, true}}},
    {CUDNN_BACKEND_POINTWISE_DESCRIPTOR,
     {{CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1}, {CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1}}},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
     {{CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, DESC, 1}, {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, DESC, 1},
      {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, DESC, 1, 1, true}, {CUDNN_ATTR_OPERATION_POINTWISE_YDESC, DESC, 1}}},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR,
     {{CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, I64, 1}, {CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1},
      {CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1}, {CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, I64, 2},
      {CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, I64, 2}, {CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, I64, 2},
      {CUDNN_ATTR_CONVOLUTION_DILATIONS, I64, 2}}},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CONVOLUTION_RULES(FORWARD, X, W, Y)},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CONVOLUTION_RULES(BWD_DATA, DX, W, DY)},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CONVOLUTION_RULES(BWD_FILTER, X, DW, DY)},
    {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
     {{CUDNN_ATTR_OPERATIONGRAPH_OPS, DESC, 1, 3}, {CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1}}},
    {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR,
     {{CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, DESC, 1}, {CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1}}},
    {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
     {{CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1}, {CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, DESC, 1}}},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR,
     {{CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, I64, 3, 4}, {CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, PTR, 3, 4},
      {CUDNN_ATTR_VARIANT_PACK_WORKSPACE, PTR, 1}}},
    {CUDNN_BACKEND_ENGINE_DESCRIPTOR, {}},
    {CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, {}},
};

// Attributes that the library sets.
constexpr int GRAPH = -1, ENGINE = -2;

template <class T> const T* read(Descriptor* d, int name) { return (const T*)d->attributes.at(name).data.data(); }
Descriptor* child(Descriptor* d, int name) { return descriptors.get(*read<uint64_t>(d, name)); }
void put(Descriptor* d, int name, uint64_t value) {
  d->attributes[name] = {I64, 1, std::vector<char>((char*)&value, (char*)&value + 8)};
}

int type_of(Descriptor* tensor) { return *read<int32_t>(tensor, CUDNN_ATTR_TENSOR_DATA_TYPE); }

// The extents of a tensor and the size of its elements, if its strides tell that channels are last.
bool channels_last(Descriptor* tensor, Tensor4& t) {
  const int type = type_of(tensor);
  if (type != CUDNN_DATA_FLOAT && type != CUDNN_DATA_BFLOAT16) return false;
  const int64_t* e = read<int64_t>(tensor, CUDNN_ATTR_TENSOR_DIMENSIONS);
  const int64_t* s = read<int64_t>(tensor, CUDNN_ATTR_TENSOR_STRIDES);
  t = {e[0], e[1], e[2], e[3], type == CUDNN_DATA_FLOAT ? 4 : 2};
  return s[1] == 1 && s[3] == t.c && s[2] == t.w * t.c && s[0] == t.h * t.w * t.c;
}

struct Operation {
  Direction direction;
  Geometry geometry;
  int64_t image_id, filter_id, result_id, bias_id = 0;
  bool relu = false;
};

int64_t id_of(Descriptor* tensor) { return *read<int64_t>(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID); }
bool is_virtual(Descriptor* tensor) {
  return tensor->attributes.count(CUDNN_ATTR_TENSOR_IS_VIRTUAL) && *read<uint8_t>(tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL);
}

// The convolution of an operation descriptor.
int interpret(Descriptor* op, Operation& operation) {
  const int base = op->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR
                       ? (operation.direction = Direction::FORWARD, 0)
                   : op->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR
                       ? (operation.direction = Direction::TO_IMAGE, 1)
                       : (operation.direction = Direction::TO_FILTER, 2);
  static const int names[3][4] = {
      {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
      {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
      {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY}};
  Descriptor *conv = child(op, names[base][0]), *image = child(op, names[base][1]);
  Descriptor *filter = child(op, names[base][2]), *result = child(op, names[base][3]);
  Geometry& g = operation.geometry;
  if (!channels_last(image, g.image) || !channels_last(filter, g.filter) || !channels_last(result, g.result)) {
    return refuse(UNSUPPORTED, "only channels-last tensors of float or bfloat16");
  }
  const int64_t* pre = read<int64_t>(conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
  const int64_t* post = read<int64_t>(conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
  const int64_t* stride = read<int64_t>(conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
  const int64_t* dilation = read<int64_t>(conv, CUDNN_ATTR_CONVOLUTION_DILATIONS);
  g.pad_top = pre[0], g.pad_left = pre[1], g.pad_bottom = post[0], g.pad_right = post[1];
  g.stride_h = stride[0], g.stride_w = stride[1], g.dilation_h = dilation[0], g.dilation_w = dilation[1];
  if (*read<int32_t>(conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE) != CUDNN_DATA_FLOAT) return refuse(UNSUPPORTED, "only sums in float");
  if (g.image.size != g.filter.size) return refuse(UNSUPPORTED, "operands of different types");
  // A virtual tensor must be of floats; the graph decides on the type that is written.
  if (is_virtual(result) && g.result.size == 4) g.result.size = g.image.size;
  if (!g.consistent()) return refuse(SHAPES, "the extents or types of a convolution do not agree");
  operation.image_id = *read<int64_t>(image, CUDNN_ATTR_TENSOR_UNIQUE_ID);
  operation.filter_id = *read<int64_t>(filter, CUDNN_ATTR_TENSOR_UNIQUE_ID);
  operation.result_id = *read<int64_t>(result, CUDNN_ATTR_TENSOR_UNIQUE_ID);
  return OK;
}


// The operations of a graph: a convolution, then perhaps a bias, then perhaps a ReLU, each on the result before it.
int interpret_graph(Descriptor* graph, Operation& operation) {
  const Attribute& ops = graph->attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS);
  auto at = [&](int64_t i) { return descriptors.get(((const uint64_t*)ops.data.data())[i]); };
  if (int status = interpret(at(0), operation)) return status;
  for (int64_t i = 1; i < ops.count; ++i) {
    Descriptor* op = at(i);
    if (op->type != CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) return refuse(3001, "not a pattern of the simulated cuDNN");
    Descriptor *x = child(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC), *y = child(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    if (id_of(x) != operation.result_id || !is_virtual(x)) return refuse(BAD, "operations that do not follow each other");
    const int mode = *read<int32_t>(child(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR), CUDNN_ATTR_POINTWISE_MODE);
    if (mode == CUDNN_POINTWISE_ADD && op->attributes.count(CUDNN_ATTR_OPERATION_POINTWISE_BDESC) && !operation.relu) {
      Descriptor* bias = child(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
      const int64_t* e = read<int64_t>(bias, CUDNN_ATTR_TENSOR_DIMENSIONS);
      if (e[0] != 1 || e[1] != operation.geometry.result.c || e[2] != 1 || e[3] != 1) return refuse(SHAPES, "not a bias");
      if (type_of(bias) != type_of(y) && !is_virtual(y)) return refuse(UNSUPPORTED, "a bias of another type");
      operation.bias_id = id_of(bias);
    } else if (mode == CUDNN_POINTWISE_RELU_FWD) {
      operation.relu = true;
    } else {
      return refuse(3001, "not a pattern of the simulated cuDNN");
    }
    Tensor4 written;
    if (!channels_last(y, written)) return refuse(UNSUPPORTED, "only channels-last tensors of float or bfloat16");
    if (!is_virtual(y) && written.size != operation.geometry.image.size) return refuse(UNSUPPORTED, "a result of another type");
    operation.result_id = id_of(y);
    if (is_virtual(y) != (i + 1 < ops.count)) return refuse(BAD, "a result without memory, or an intermediate tensor with memory");
  }
  return OK;
}

// Two engines: the first is fast and needs as much scratch as its image, the second needs little. Before them come
// engines with a numerical note that the backend must refuse, more than it might ask for at once.
constexpr int64_t NOTED = 100;  // plus the note
constexpr int64_t ANY = NOTED + CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
const int64_t engines[] = {ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY, ANY,
                           NOTED + CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS,
                           NOTED + CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION, 0, 1};

// For tests: the microseconds that engines are said to take, by default 1, and how often each ran. Engines from 2 on, which
// need little scratch, are offered after the two if they were given a time.
std::map<int64_t, double> times;
std::map<int64_t, int64_t> runs;
std::vector<int64_t> offered() {
  std::vector<int64_t> all(std::begin(engines), std::end(engines));
  for (auto& [engine, time] : times) if (engine > 1) all.push_back(engine);
  return all;
}

int64_t workspace_of(Descriptor* config) {
  if (*read<int64_t>(config, ENGINE) != 0) return 128;
  Operation operation;
  interpret_graph(descriptors.get(*read<uint64_t>(config, GRAPH)), operation);
  return operation.geometry.image.bytes();
}
}  // namespace

// Sets an engine's time; a negative one forgets all times and runs.
EXPORT void sim_engine(int64_t engine, double microseconds) {
  if (microseconds < 0) times.clear(), runs.clear();
  else times[engine] = microseconds;
}
EXPORT int64_t sim_engine_runs(int64_t engine) { return runs[engine]; }

EXPORT size_t cudnnGetVersion() {
  const char* wanted = getenv("LOCALGRAD_SIM_CUDNN");
  return wanted ? atoi(wanted) : 92400;
}
EXPORT size_t cudnnGetCudartVersion() { return 13000; }
EXPORT const char* cudnnGetErrorString(int status) {
  switch (status) {
    case OK: return "CUDNN_STATUS_SUCCESS";
    case NOT_INITIALIZED_: return "CUDNN_STATUS_NOT_INITIALIZED";
    case BAD: return "CUDNN_STATUS_BAD_PARAM";
    case NULL_POINTER: return "CUDNN_STATUS_BAD_PARAM_NULL_POINTER";
    case NOT_FINALIZED: return "CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED";
    case SMALL: return "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT";
    case SHAPES: return "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH";
    case ATTRIBUTE_TYPE: return "CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE";
    case UNSUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
    case FAILED: return "CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER";
    default: return "CUDNN_STATUS unknown";
  }
}
EXPORT void cudnnGetLastErrorString(char* message, size_t size) {
  strncpy(message, last_error.c_str(), size - 1);
  last_error.clear();
}
EXPORT int cudnnCreate(uint64_t* handle) {
  if (fails("cudnn")) return refuse(NOT_INITIALIZED_, "told to");
  return *handle = handles.add(std::make_unique<Handle>()), OK;
}
EXPORT int cudnnDestroy(uint64_t handle) { return handles.remove(handle) ? OK : BAD; }
EXPORT int cudnnSetStream(uint64_t handle, uint64_t stream) {
  if (!handles.get(handle)) return BAD;
  return handles.get(handle)->stream = stream, OK;
}
namespace sim {
uint64_t stream_of(uint64_t handle) { return handles.get(handle) ? handles.get(handle)->stream : 0; }
}  // namespace sim

EXPORT int cudnnBackendCreateDescriptor(int type, uint64_t* descriptor) {
  if (!rules.count(type)) return refuse(UNSUPPORTED, "a descriptor the simulated cuDNN does not have");
  return *descriptor = descriptors.add(std::unique_ptr<Descriptor>(new Descriptor{type})), OK;
}
EXPORT int cudnnBackendDestroyDescriptor(uint64_t descriptor) { return descriptors.remove(descriptor) ? OK : BAD; }

EXPORT int cudnnBackendSetAttribute(uint64_t handle, int name, int type, int64_t count, const void* elements) {
  Descriptor* d = descriptors.get(handle);
  if (!d || !elements) return refuse(NULL_POINTER, "no descriptor or no elements");
  if (d->final) return refuse(BAD, "the descriptor is final");
  for (const Rule& rule : rules.at(d->type)) {
    if (rule.name != name) continue;
    if (rule.type != type) return refuse(ATTRIBUTE_TYPE, "attribute " + std::to_string(name) + " has another type");
    if (count < rule.count || count > std::max(rule.count, rule.most)) return refuse(BAD, "attribute " + std::to_string(name) + " has another count");
    if (type == DESC) {
      for (int64_t i = 0; i < count; ++i) {
        Descriptor* other = descriptors.get(((const uint64_t*)elements)[i]);
        if (!other || !other->final) return refuse(NOT_FINALIZED, "a descriptor that is not final");
      }
    }
    if (type == CUDNN_TYPE_HANDLE && !handles.get(*(const uint64_t*)elements)) return refuse(BAD, "not a handle");
    const char* bytes = (const char*)elements;
    d->attributes[name] = {type, count, std::vector<char>(bytes, bytes + count * sizes.at(type))};
    return OK;
  }
  return refuse(BAD, "attribute " + std::to_string(name) + " is not one of this descriptor's");
}

EXPORT int cudnnBackendFinalize(uint64_t handle) {
  Descriptor* d = descriptors.get(handle);
  if (!d) return refuse(NULL_POINTER, "no descriptor");
  if (d->final) return refuse(BAD, "final already");
  for (const Rule& rule : rules.at(d->type)) {
    if (!rule.optional && !d->attributes.count(rule.name)) return refuse(BAD, "attribute " + std::to_string(rule.name) + " is missing");
  }
  if (fails("finalize")) return refuse(UNSUPPORTED, "told to");
  if (d->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
    if (fails("engine")) return refuse(FAILED, "told to");  // as if code that was compiled for it did not load
    if (fails("malformed")) return refuse(BAD, "told to");
  }
  if (d->type >= CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR &&
      d->type <= CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR) {
    Operation operation;
    if (int status = interpret(d, operation)) return status;
  }
  if (d->type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
    Operation operation;
    if (int status = interpret_graph(d, operation)) return status;
  }
  d->final = true;
  return OK;
}

EXPORT int cudnnBackendGetAttribute(uint64_t handle, int name, int type, int64_t requested, int64_t* count, void* elements) {
  Descriptor* d = descriptors.get(handle);
  if (!d || (!elements && requested > 0)) return refuse(NULL_POINTER, "no descriptor or no room");
  if (!d->final) return refuse(NOT_FINALIZED, "the descriptor is not final");
  if (d->type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR && name == CUDNN_ATTR_ENGINEHEUR_RESULTS && type == DESC) {
    const bool fallback = *read<int32_t>(d, CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_FALLBACK;
    const std::vector<int64_t> all = offered();
    *count = fallback ? 1 : all.size();
    if (requested == 0) return OK;  // asks for their number
    *count = std::min(*count, requested);
    for (int64_t i = 0; i < *count; ++i) {
      Descriptor* config = descriptors.get(((uint64_t*)elements)[i]);
      if (!config || config->type != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) return refuse(BAD, "results need descriptors");
      put(config, GRAPH, *read<uint64_t>(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
      put(config, ENGINE, fallback ? 1 : all[i]);
      config->final = true;
    }
    return OK;
  }
  if (d->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR && name == CUDNN_ATTR_ENGINECFG_ENGINE && type == DESC && requested == 1) {
    Descriptor* engine = descriptors.get(*(uint64_t*)elements);
    if (!engine || engine->type != CUDNN_BACKEND_ENGINE_DESCRIPTOR) return refuse(BAD, "the result needs a descriptor");
    put(engine, ENGINE, *read<uint64_t>(d, ENGINE));
    engine->final = true;
    return *count = 1, OK;
  }
  if (d->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR && name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE && type == CUDNN_TYPE_NUMERICAL_NOTE) {
    const int64_t engine = *read<int64_t>(d, ENGINE);
    *count = engine >= NOTED;
    if (*count && requested > 0) *(int32_t*)elements = engine - NOTED;
    return OK;
  }
  if (d->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE && type == I64) {
    *(int64_t*)elements = workspace_of(child(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG));
    return *count = 1, OK;
  }
  return refuse(BAD, "attribute " + std::to_string(name) + " cannot be read like this");
}

EXPORT int cudnnBackendExecute(uint64_t handle, uint64_t plan, uint64_t pack) {
  Handle* library = handles.get(handle);
  Descriptor *p = descriptors.get(plan), *v = descriptors.get(pack);
  if (!library || !p || !v || !p->final || !v->final) return refuse(BAD, "a handle, a plan and a pack that are final");
  if (*read<uint64_t>(p, CUDNN_ATTR_EXECUTION_PLAN_HANDLE) != handle) return refuse(BAD, "the plan is of another handle");
  Descriptor* config = child(p, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  Descriptor* graph = config ? descriptors.get(*read<uint64_t>(config, GRAPH)) : nullptr;
  if (!graph) return refuse(BAD, "the plan outlived its graph");
  if (*read<int64_t>(config, ENGINE) >= NOTED) complain("an engine was run that is not deterministic, or rounds where it must not");
  Operation operation;
  if (int status = interpret_graph(graph, operation)) return status;
  std::map<int64_t, uint64_t> places;
  const int64_t named = v->attributes.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count;
  if (named != v->attributes.at(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).count) return refuse(BAD, "names without pointers");
  for (int64_t i = 0; i < named; ++i) {
    places[read<int64_t>(v, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS)[i]] = read<uint64_t>(v, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)[i];
  }
  for (int64_t id : {operation.image_id, operation.filter_id, operation.result_id, operation.bias_id}) {
    if (id == 0) continue;
    if (!places.count(id)) return refuse(BAD, "a tensor without a pointer");
    if (places[id] % 16 != 0) return refuse(2003, "a misaligned pointer");
  }
  if (fails("convolution")) return refuse(FAILED, "told to");
  const int64_t engine = *read<int64_t>(config, ENGINE);
  ++runs[engine];
  const Result result = convolve(operation.direction, operation.geometry, places[operation.image_id],
                                 places[operation.filter_id], places[operation.result_id],
                                 *read<uint64_t>(v, CUDNN_ATTR_VARIANT_PACK_WORKSPACE), workspace_of(config), library->stream,
                                 {operation.bias_id ? places[operation.bias_id] : 0, operation.relu},
                                 times.count(engine) ? times[engine] : 1);
  return result == SUCCESS ? OK : refuse(FAILED, "the driver refused");
}
