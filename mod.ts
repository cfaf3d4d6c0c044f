/**
 * localgrad trains neural networks block by block: supervised local learning with Momentum Auxiliary Networks (MAN,
 * arXiv 2407.05623) on traced, planned programs that run on WebAssembly or WebGPU.
 *
 * @module
 */

export { LocalgradError } from "./src/errors.ts";
export * from "./src/trace/dtype.ts";
export { type Axes, type Operand, Tensor } from "./src/trace/tensor.ts";
export * from "./src/trace/functions.ts";
export { scope } from "./src/trace/trace.ts";
export * from "./src/trace/tree.ts";
export { Device, DeviceArray, disposeTree, HostArray } from "./src/trace/arrays.ts";
export { type Argument, type Avals, jit, type Jitted, type JitOptions, type Result } from "./src/trace/jit.ts";
export { checkpoint, customGradient, grad, valueAndGrad, vjp, zerosLike } from "./src/autograd/grad.ts";
export type { Category, Program } from "./src/trace/program.ts";
export type { MemoryReport, Plan, Target } from "./src/compile/plan.ts";
export * as devices from "./src/devices.ts";
