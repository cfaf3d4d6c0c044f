import { encodePng } from "../artifacts/png.ts";
import type { Sample, Samples } from "../artifacts/samples.ts";
import { at } from "../base/at.ts";
import type { Signature } from "../data/signature.ts";
import { categorize } from "../local/memory.ts";
import { activationsIn, productsIn } from "../local/precision.ts";
import type { Setup } from "../local/setup.ts";
import { network } from "../models/model.ts";
import { type Named, select } from "../nn/named.ts";
import type { NetworkVariables } from "../predict/predictor.ts";
import type { Device, DeviceArray } from "../runtime/arrays.ts";
import { jit } from "../runtime/jit.ts";
import { full, stack } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import type { BatchRequest, Feed } from "./feeds/feed.ts";

/** Images that are predicted at most, to choose from. */
const AMONG = 1000;
/** Rows and columns of a sample at most; larger images are reduced. */
const SIDE = 112;

/** An image of a feed and its prediction. */
interface Predicted extends Omit<Sample, "png"> {
  readonly index: number;
}

/** What {@link sample} is told. */
export interface SampleRequest {
  /** The device to predict on. */
  readonly device: Device;
  /** The network and the precision of training. */
  readonly setup: Pick<Setup, "model" | "precision">;
  /** The images, which may be more than are looked at. */
  readonly feed: Feed;
  /** Images of a batch. */
  readonly batch: number;
  /** Their extents. */
  readonly signature: Signature;
  /** The kind of images. */
  readonly of: "test" | "validation";
  /** Number of samples: up to half of them are errors. */
  readonly count: number;
}

/** Chooses images of a feed and predicts them with these variables, see {@link Samples}. */
export async function sample(
  request: SampleRequest,
  { params, state }: NetworkVariables<DeviceArray>,
): Promise<Samples> {
  const { device, setup: { model, precision }, feed, signature, of, count } = request;
  const net = network(model);
  const among = Math.min(AMONG, feed.count);
  const batch = Math.min(request.batch, feed.count);
  const products = productsIn(precision);
  const predicted: Predicted[] = [];
  const predict = jit(
    (variables: NetworkVariables<Tensor>, data: Named<Tensor>, indices: Tensor) => {
      const { x, labels } = feed.batch(data, indices);
      const logits = net.apply(
        variables.params,
        variables.state,
        x.cast(activationsIn(precision)),
        "evaluate",
      ).y
        .cast("f32");
      const others = logits.sub(logits.max(1, { keepDims: true })).exp().sum(1); // of the softmax, whose own is 1
      return stack([labels.cast("f32"), logits.argmax(1).cast("f32"), full(others.shape, 1).div(others)]);
    },
    { device, name: "samples", categorize, ...products },
  );
  const variables = { params: select(params, net.params), state: select(state, net.state) };
  using _predict = disposing(predict);
  for await (const { indices, data } of feed.supply(requests(range(among), batch))) {
    using result = predict(variables, data, indices);
    const values = await result.read("f32");
    for (let i = 0; i < batch && predicted.length < among; i++) {
      predicted.push({
        index: predicted.length,
        label: at(values, i),
        predicted: at(values, batch + i),
        probability: at(values, 2 * batch + i),
      });
    }
  }
  const { wrong, right } = choose(predicted, count);
  const chosen = [...wrong, ...right];
  const pngs = await picturesOf(device, feed, chosen.map(({ index }) => index), batch, signature);
  const samples = chosen.map(({ index: _, ...rest }, i): Sample => ({ ...rest, png: pngs[i] ?? "" }));
  return { of, among, wrong: samples.slice(0, wrong.length), right: samples.slice(wrong.length) };
}

/** The most confident errors, up to half of `count`, and recognised images of each class in turn. */
export function choose(
  predicted: readonly Predicted[],
  count: number,
): { wrong: Predicted[]; right: Predicted[] } {
  const finite = predicted.filter(({ probability }) => Number.isFinite(probability));
  const wrong = finite.filter(({ label, predicted }) => label !== predicted)
    .toSorted((a, b) => b.probability - a.probability || a.index - b.index)
    .slice(0, Math.floor(count / 2));
  const seen = new Map<number, number>();
  const right = finite.filter(({ label, predicted }) => label === predicted).map((each) => {
    const turn = seen.get(each.label) ?? 0;
    seen.set(each.label, turn + 1);
    return { each, turn };
  });
  const inTurn = right.toSorted((a, b) => a.turn - b.turn || a.each.label - b.each.label);
  return { wrong, right: inTurn.slice(0, count - wrong.length).map(({ each }) => each) };
}

/** True if images of so many channels can be shown: grey or RGB. */
export function drawable(channels: number): channels is 1 | 3 {
  return channels === 1 || channels === 3;
}

/** Images of a feed as PNGs in base64. */
async function picturesOf(
  device: Device,
  feed: Feed,
  indices: readonly number[],
  batch: number,
  { height, width, channels }: Signature,
): Promise<string[]> {
  if (!drawable(channels)) throw new Error(`images of ${channels} channels have no PNG`);
  const read = jit(
    (data: Named<Tensor>, indices: Tensor) => feed.batch(data, indices).images.cast("f32"),
    { device, name: "sample images", categorize },
  );
  using _read = disposing(read);
  const size = height * width * channels;
  const pngs: string[] = [];
  for await (const { indices: some, data } of feed.supply(requests(indices, batch))) {
    using images = read(data, some);
    const values = await images.read("f32");
    for (let i = 0; i < batch && pngs.length < indices.length; i++) {
      const bytes = Uint8ClampedArray.from(
        values.subarray(i * size, (i + 1) * size),
        (value) => 255 * value,
      );
      const small = reduced(bytes, height, width, channels);
      pngs.push((await encodePng(small.pixels, small.height, small.width, channels)).toBase64());
    }
  }
  return pngs;
}

/** An image of at most {@link SIDE} rows and columns: the means of squares of its pixels. */
function reduced(bytes: Uint8ClampedArray, height: number, width: number, channels: number) {
  const by = Math.ceil(Math.max(height, width) / SIDE);
  const [rows, columns] = [Math.max(1, Math.floor(height / by)), Math.max(1, Math.floor(width / by))];
  const pixels = Uint8Array.from({ length: rows * columns * channels }, (_, k) => {
    const [y, x] = [Math.floor(k / (columns * channels)) * by, Math.floor(k / channels) % columns * by];
    let sum = 0, count = 0;
    for (let dy = 0; dy < by && y + dy < height; dy++) {
      for (let dx = 0; dx < by && x + dx < width; dx++, count++) {
        sum += at(bytes, ((y + dy) * width + x + dx) * channels + k % channels);
      }
    }
    return Math.round(sum / count);
  });
  return { pixels, height: rows, width: columns };
}

const disposing = ({ dispose }: { dispose(): void }) => ({ [Symbol.dispose]: dispose });

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Batches of these images; the last is padded with image 0. */
function* requests(images: readonly number[], batch: number): Generator<BatchRequest> {
  for (let from = 0; from < images.length; from += batch) {
    yield { indices: Uint32Array.from({ length: batch }, (_, i) => images[from + i] ?? 0) };
  }
}
