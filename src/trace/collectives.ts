import { expectOptions } from "../base/expect.ts";
import type { Aval } from "./dtype.ts";
import type { AllReduceFn } from "./ops.ts";
import { expectTensor, type Tensor } from "./tensor.ts";
import { currentTrace } from "./trace.ts";

/** Options of {@link allReduce}. */
export interface AllReduceOptions {
  /** The name of the group of processes, one of those that the device was opened with. */
  group: string;
  /** The reduction; default `sum`. `max` and `min` are NaN where any element is. */
  fn?: AllReduceFn;
}

/** Options of {@link broadcastFrom}. */
export interface BroadcastFromOptions {
  /** The name of the group of processes, one of those that the device was opened with. */
  group: string;
  /** The number of the process in the group whose value all receive, from 0. */
  root: number;
}

/** Options of {@link send}. */
export interface SendOptions {
  /** The name of the group of processes, one of those that the device was opened with. */
  group: string;
  /** The number of the receiving process in the group, from 0. */
  to: number;
  /** Tells messages between the same two processes apart, 0 to 32767; default 0. */
  tag?: number;
  /**
   * The most messages of this op that may be on their way at once; default 1. Each takes a slot of memory of the size of
   * the value. The sender waits only where all slots are taken.
   */
  depth?: number;
}

/** Options of {@link receive}. */
export interface ReceiveOptions {
  /** The name of the group of processes, one of those that the device was opened with. */
  group: string;
  /** The number of the sending process in the group, from 0. */
  from: number;
  /** The tag that it was sent with; default 0. */
  tag?: number;
}

/**
 * Each element's sum over all processes of a group, on every one of them. All processes call it for the same shapes in the
 * same order. It starts where it is called and runs on while the steps after it are computed; only the first step that
 * reads the result waits.
 *
 * The gradient of a sum is the sum of the cotangents over the group, as if the losses of all processes were added; that of
 * a maximum or minimum goes to the elements that attain it, in equal shares. In a group of one it is the identity.
 *
 * @param x f32, i32 or u32 of any shape but an empty one, the same on every process; bf16 is summed in f32.
 * @returns A tensor of the same shape and dtype.
 * @throws {LocalgradError} if an option or the dtype is wrong, and when it is compiled for a device without that group.
 *
 * @example
 * ```ts
 * import { allReduce, alone, devices, jit, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("cpu", { communicators: { data: alone } });
 * const total = jit((x: Tensor) => allReduce(x, { group: "data" }), { device });
 * using sum = total(device.array([1, 2]));
 * assertEquals([...await sum.read()], [1, 2]); // of one process
 * ```
 */
export function allReduce(x: Tensor, options: AllReduceOptions): Tensor {
  expectTensor("allReduce", x);
  expectOptions("allReduce", options, { group: "string", fn: "string?" });
  const { group, fn = "sum" } = options;
  if (x.dtype === "bf16") return allReduce(x.cast("f32"), options).cast("bf16");
  return x.trace.emit("allReduce", [x], { group, fn });
}

/**
 * The value of one process of a group, on every one of them. All processes call it for the same shape in the same order.
 * (`broadcastTo` repeats axes, and has nothing to do with it.)
 *
 * @param x f32, bf16, i32, u32 or bool of any shape but an empty one, the same on every process.
 * @returns A tensor of the same shape and dtype.
 * @throws {LocalgradError} if an option is wrong, if a gradient is to pass through it, and when it is compiled for a device
 * without that group.
 */
export function broadcastFrom(x: Tensor, options: BroadcastFromOptions): Tensor {
  expectTensor("broadcastFrom", x);
  expectOptions("broadcastFrom", options, { group: "string", root: "number" });
  const { group, root } = options;
  return x.trace.emit("broadcastFrom", [x], { group, root });
}

/**
 * Sends a value to another process of a group, which has to {@link receive} it. The sender goes on with its next steps, and
 * into the next run. No gradient crosses: the value counts as a constant where it arrives.
 *
 * @param x f32, bf16, i32, u32 or bool of any shape but an empty one.
 * @throws {LocalgradError} if an option is wrong, and when it is compiled for a device without that group or process.
 */
export function send(x: Tensor, options: SendOptions): void {
  expectTensor("send", x);
  expectOptions("send", options, { group: "string", to: "number", tag: "number?", depth: "number?" });
  const { group, to, tag = 0, depth = 1 } = options;
  x.trace.emit("send", [x], { group, to, tag, depth });
}

/**
 * A value that another process of a group sends with {@link send}. Messages with the same tag arrive in the order sent. The
 * first step that reads it waits for it. To gradients it is a constant.
 *
 * @param aval Its shape and dtype, those of the value sent: f32, bf16, i32, u32 or bool.
 * @throws {LocalgradError} outside of a traced function, if an option is wrong, and when it is compiled for a device
 * without that group or process.
 */
export function receive(aval: Aval, options: ReceiveOptions): Tensor {
  expectOptions("receive", options, { group: "string", from: "number", tag: "number?" });
  const { shape, dtype } = aval;
  const { group, from, tag = 0 } = options;
  return currentTrace("receive").emit("receive", [], { shape, dtype, group, from, tag });
}
