import type { Model } from "../models/model.ts";
import type { Aval } from "../trace/dtype.ts";
import { stepScalars } from "./average.ts";
import type { Batch } from "./method.ts";

/** Shapes and dtypes of a batch of `size` images, as the training step takes it. */
export function batchAvals({ input: { height, width, channels } }: Model, size: number): Batch<Aval> {
  const image: Aval = { shape: [size, height, width, channels], dtype: "f32" };
  return { x: image, labels: { shape: [size], dtype: "i32" }, images: image };
}

/** Shapes and dtypes of a step's scalars. */
export function scalarAvals(setup: Parameters<typeof stepScalars>[0]): { [name: string]: Aval } {
  const names = Object.keys(stepScalars(setup, 0, 0));
  return Object.fromEntries(names.map((name): [string, Aval] => [name, { shape: [], dtype: "f32" }]));
}
