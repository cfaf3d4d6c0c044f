/**
 * localgrad trains neural networks block by block: supervised local learning with Momentum Auxiliary Networks (MAN,
 * arXiv 2407.05623) on traced, planned programs that run on CUDA, WebGPU or WebAssembly.
 *
 * @module
 */

export { type ErrorCode, LocalgradError } from "./src/base/errors.ts";
export { fromBf16, toBf16 } from "./src/trace/bf16.ts";
export * from "./src/trace/dtype.ts";
export type { Axes } from "./src/trace/shape_arguments.ts";
export { type Operand, Tensor } from "./src/trace/tensor.ts";
export * from "./src/trace/functions.ts";
export * from "./src/trace/activations.ts";
export * from "./src/trace/statistics.ts";
export { cumsum } from "./src/trace/scan.ts";
export { sort, type Sorted, type SortOptions, topK } from "./src/trace/sorting.ts";
export { einsum } from "./src/trace/einsum.ts";
export * from "./src/trace/collectives.ts";
export { type Region, scope, Trace } from "./src/trace/trace.ts";
export * from "./src/trace/tree.ts";
export { Device, DeviceArray, disposeTree } from "./src/runtime/arrays.ts";
export { HostArray } from "./src/trace/host_array.ts";
export {
  type Argument,
  type Avals,
  jit,
  type JitOptions,
  type Jitted,
  type Result,
} from "./src/runtime/jit.ts";
export { checkpoint, customGradient, grad, valueAndGrad, vjp } from "./src/autograd/grad.ts";
// Programs, plans and the backend contract, for those who read or extend them.
export type * from "./src/trace/ops.ts";
export type { ShapeRule } from "./src/trace/shapes/rule.ts";
export type * from "./src/trace/program.ts";
export type * from "./src/compile/kernel.ts";
export type * from "./src/compile/plan.ts";
export type { Recompute, RecomputeWithin } from "./src/compile/recomputation.ts";
export type { Speeds } from "./src/compile/time.ts";
export { printKernel, printPlan, printProgram } from "./src/compile/print.ts";
export type * from "./src/backends/backend.ts";
export {
  alone,
  type Communicator,
  type Communicators,
  type Pending,
  type Processes,
} from "./src/backends/communicator.ts";
// Namespaces. Of those that are sub-paths too, deno doc 2.9.6 lists here only what their modules export by `export *`.
/** Devices: opening one, and the targets of plans. */
export * as devices from "./src/runtime/devices.ts";
/** Several processes that train one network. All names: `deno doc src/processes.ts`. */
export * as processes from "./src/processes.ts";
/** Random tensors inside traced functions, from keys. */
export * as random from "./src/trace/random.ts";
/** Keys of random numbers, and random values on the host. */
export * as keys from "./src/base/random.ts";
/** Layers. All names: `deno doc src/nn.ts`. */
export * as nn from "./src/nn.ts";
/** Networks that can be cut. All names: `deno doc src/models.ts`. */
export * as models from "./src/models.ts";
/** Optimizers, functions around them, and schedules. All names: `deno doc src/optim.ts`. */
export * as optim from "./src/optim.ts";
/** Local learning and its trainer. All names: `deno doc src/local.ts`. */
export * as local from "./src/local.ts";
/** Data sets, and reading batches of them. All names: `deno doc src/data.ts`. */
export * as data from "./src/data.ts";
/** Predictions of trained networks. All names: `deno doc src/predict.ts`. */
export * as predict from "./src/predict.ts";
/** What a run leaves: its folder, checkpoints, reports and weights. All names: `deno doc src/train.ts`. */
export * as train from "./src/train.ts";
