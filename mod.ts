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
export { printKernel, printPlan, printProgram } from "./src/compile/print.ts";
export type * from "./src/backends/backend.ts";
export * as devices from "./src/runtime/devices.ts";
export * as random from "./src/trace/random.ts";
export * as keys from "./src/base/random.ts";
export * as nn from "./src/nn.ts";
export * as models from "./src/models.ts";
export * as optim from "./src/optim.ts";
export * as local from "./src/local.ts";
export * as data from "./src/data.ts";
export * as predict from "./src/predict.ts";
export * as train from "./src/train.ts";
