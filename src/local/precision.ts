import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { precisionRemedy } from "../compile/refuse.ts";
import type { Precision, ProductPrecision, Target } from "../compile/plan.ts";

/** Returns the precision a device computes in: the requested one, or its own choice; refuses one that it lacks. */
export function precisionOn(target: Target, wanted?: Precision): Precision {
  const { name, precisions } = target;
  if (wanted === undefined) return at(precisions, 0);
  if (precisions.includes(wanted)) return wanted;
  throw new LocalgradError(
    `device ${name} computes in ${precisions.join(" or ")}, not in ${wanted}: leave precision out, or ` +
      precisionRemedy(target, wanted),
  );
}

/** The dtype of images, activations and the weights they meet; everything else is f32 at any precision. */
export function activationsIn(precision: Precision | undefined): "f32" | "bf16" {
  return precision === "bf16" ? "bf16" : "f32";
}

/** The precision of f32 products, as an option of `jit`; in bf16 training, the device's own choice. */
export function productsIn(precision: Precision | undefined): { precision?: ProductPrecision } {
  return precision === undefined || precision === "bf16" ? {} : { precision };
}
