import type { Precision } from "../../compile/plan.ts";
import type { ImageDataset, ImagePart } from "../../data/images.ts";
import type { Variables } from "../../local/method.ts";
import { activationsIn, productsIn } from "../../local/precision.ts";
import type { Layer } from "../../nn/layer.ts";
import { type Named, select } from "../../nn/named.ts";
import type { Device, DeviceArray } from "../../runtime/arrays.ts";
import { jit } from "../../runtime/jit.ts";
import { concat } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { breathe } from "../evaluate.ts";
import { imageFeed } from "../feeds/image_feed.ts";

/** Features of images, with their classes. */
export interface Features {
  /** f32 `[count, channels]`, row by row. */
  readonly values: Float32Array;
  readonly labels: Int32Array;
  readonly count: number;
}

/** A frozen network, by the modules whose outputs are its features. */
export interface Frozen {
  readonly device: Device;
  readonly precision: Precision | undefined;
  /** Images per batch. */
  readonly batch: number;
  readonly stages: readonly Layer[];
  readonly variables: { readonly params: Named<DeviceArray>; readonly state: Named<DeviceArray> };
}

/**
 * Runs all images of a part through a network. The features of an image are the outputs of all stages, side by side,
 * each averaged over all axes but the channels; `width` is the sum of their channels.
 */
export async function extractFeatures(
  { device, batch, stages, variables: { params, state }, precision }: Frozen,
  dataset: ImageDataset<ImagePart>,
  part: ImagePart,
  width: number,
  signal: AbortSignal | undefined,
): Promise<Features> {
  await using feed = imageFeed(device, dataset, part);
  const size = Math.min(batch, part.count);
  const run = jit((variables: Variables, data: Named<Tensor>, indices: Tensor) => {
    let x = feed.batch(data, indices).x.cast(activationsIn(precision));
    const outputs = stages.map((stage) => {
      const [params, state] = [select(variables.params, stage.params), select(variables.state, stage.state)];
      x = stage.apply(params, state, x, "evaluate").y;
      const inner = x.shape.slice(1, -1).map((_, axis) => axis + 1);
      return (inner.length === 0 ? x : x.mean(inner)).cast("f32");
    });
    return concat(outputs, 1);
  }, { device, name: "features", ...productsIn(precision) });
  try {
    const values = new Float32Array(part.count * width);
    const requests = Array.from({ length: Math.ceil(part.count / size) }, (_, n) => ({
      // The last batch is padded with images whose features are dropped.
      indices: Uint32Array.from({ length: size }, (_, i) => Math.min(n * size + i, part.count - 1)),
    }));
    let from = 0;
    for await (const { indices, data } of feed.supply(requests)) {
      signal?.throwIfAborted();
      using features = run({ params, state }, data, indices);
      const rows = Float32Array.from(await features.read());
      values.set(rows.subarray(0, Math.min(size, part.count - from) * width), from * width);
      from += size;
      await breathe();
    }
    return { values, labels: part.labels, count: part.count };
  } finally {
    run.dispose();
  }
}

/** Columns `from … from + count` of rows that are `width` wide. */
export function columns(values: Float32Array, width: number, from: number, count: number): Float32Array {
  const rows = values.length / width;
  const result = new Float32Array(rows * count);
  for (let row = 0; row < rows; row++) {
    result.set(values.subarray(row * width + from, row * width + from + count), row * count);
  }
  return result;
}

/** Scales features in place to mean 0 and deviation 1 per channel, both taken over the training features. */
export function standardise(train: Float32Array, test: Float32Array, channels: number): void {
  for (let channel = 0; channel < channels; channel++) {
    const column = columns(train, channels, channel, 1);
    const mean = column.reduce((sum, value) => sum + value, 0) / column.length;
    const variance = column.reduce((sum, value) => sum + (value - mean) ** 2, 0) / column.length;
    const scale = variance === 0 ? 0 : 1 / Math.sqrt(variance);
    for (const values of [train, test]) {
      columns(values, channels, channel, 1).forEach((value, row) =>
        values[row * channels + channel] = (value - mean) * scale
      );
    }
  }
}
