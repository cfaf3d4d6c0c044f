import type { Tensor } from "./tensor.ts";

/** Computes a function of bf16 in f32, and rounds its result once; any other dtype is left as it is. */
export function inF32(x: Tensor, f: (x: Tensor) => Tensor): Tensor {
  return x.dtype === "bf16" ? f(x.cast("f32")).cast("bf16") : f(x);
}
