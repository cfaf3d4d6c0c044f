import { LocalgradError } from "../base/errors.ts";
import type { Precision, ProductPrecision, Target } from "../compile/plan.ts";

/** The precision that a device computes in: the one asked for, or its own choice; refuses what it cannot do. */
export function precisionOn({ name, precisions }: Target, wanted?: Precision): Precision {
  if (wanted === undefined) return precisions[0];
  if (precisions.includes(wanted)) return wanted;
  throw new LocalgradError(
    `device ${name} computes in ${
      precisions.join(" or ")
    }, not in ${wanted}: leave precision out, or take a CUDA ` +
      `device of sm_80 or newer`,
  );
}

/** What images, activations and the weights they meet are in; everything else is f32 whatever the precision. */
export function activationsIn(precision: Precision | undefined): "f32" | "bf16" {
  return precision === "bf16" ? "bf16" : "f32";
}

/** How products of f32 are computed, as an option of `jit`: beside bf16, the device's own way. */
export function productsIn(precision: Precision | undefined): { precision?: ProductPrecision } {
  return precision === undefined || precision === "bf16" ? {} : { precision };
}
