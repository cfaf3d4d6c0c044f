import { key } from "../base/random.ts";
import { inputShape, labelsAval, type Model } from "../models/model.ts";
import type { Aval } from "../trace/dtype.ts";
import { stepScalars } from "./average.ts";
import type { Batch } from "./method.ts";
import { randomScalars } from "./randomness.ts";

/** Shapes and dtypes of a batch of `size` images, as the training step takes it. */
export function batchAvals(model: Model, size: number): Batch<Aval> {
  const x: Aval = { shape: [size, ...inputShape(model)], dtype: "f32" };
  return { x, labels: labelsAval(model, size), images: x };
}

/** Shapes and dtypes of a step's scalars. */
export function scalarAvals(
  setup: Parameters<typeof stepScalars>[0] & Parameters<typeof randomScalars>[0],
): { [name: string]: Aval } {
  const names = Object.keys({ ...stepScalars(setup, 0, 0), ...randomScalars(setup, key(0)) });
  return Object.fromEntries(names.map((name): [string, Aval] => [name, { shape: [], dtype: "f32" }]));
}
