import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { tinyDataset } from "../../../tests/tiny.ts";
import { make } from "../../../tests/tiny_trainer.ts";
import { key } from "../../base/random.ts";
import { mixingOf } from "../../data/augment.ts";
import type { Augmentation, ImageDataset, StreamedImages } from "../../data/images.ts";
import { crossEntropy } from "../../local/losses.ts";
import { withLoss } from "../../local/loss.ts";
import { microBatches } from "../../local/micro_batches.ts";
import { shareOf } from "../../local/processes/shares.ts";
import { open } from "../../runtime/devices.ts";
import { jit } from "../../runtime/jit.ts";
import { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import type { Feed } from "./feed.ts";
import { imageFeed } from "./image_feed.ts";
import { labelFeed } from "./label_feed.ts";

const mixing: Augmentation = { border: 0, fill: "zero", flip: false, mix: { mixup: 1 } };
const set: ImageDataset = { ...tinyDataset(12, 6), augmentation: mixing };
const indices = Uint32Array.of(3, 7, 8, 1, 0, 10);

/** The images of a part, as a reader gives them. */
const streamed: StreamedImages = {
  labels: set.train.labels,
  count: set.train.count,
  open: () => ({
    done: { images: 0, milliseconds: 0 },
    read: (indices) =>
      Promise.resolve(
        Uint8Array.from(
          Array.from(indices, (i) => [...set.train.images.subarray(i * 192, i * 192 + 192)]).flat(),
        ),
      ),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }),
};

Deno.test("feeds give the labels that images are mixed with, and the share, also for a part of the batch", async () => {
  await using device = await open("cpu");
  const feeds: [string, Feed][] = [
    ["resident", imageFeed(device, set, set.train)],
    ["streamed", imageFeed(device, set, streamed)],
    ["labels", labelFeed(device, set.train, set)],
  ];
  const draw = jit((k: Tensor) => mixingOf(k, mixing, set)!.share, { device });
  using drawn = draw(key(5));
  const [expected] = await drawn.read();
  const pixels: string[] = [];
  for (const [name, feed] of feeds) {
    await using _ = feed;
    const [first] = await Array.fromAsync(feed.supply([{ indices, key: key(5) }]));
    const data = first!.data as never;
    for (const share of [shareOf(6, 1, 0), shareOf(6, 2, 1)]) {
      const step = jit((data: never, i: Tensor, k: Tensor) => {
        const batch = feed.batch(data, i, k, share);
        return { labels: batch.labels, mixed: batch.mixed!, ...(name === "labels" ? {} : { x: batch.x }) };
      }, { device });
      const result = step(data, indices, key(5)) as unknown as {
        labels: { read(): Promise<Int32Array> };
        mixed: { labels: { read(): Promise<Int32Array> }; share: { read(): Promise<Float32Array> } };
        x?: { read(): Promise<Float32Array> };
      };
      const own = Array.from(indices, (i) => set.train.labels[i]!);
      const others = [own.at(-1)!, ...own.slice(0, -1)];
      assertEquals([...await result.labels.read()], own.slice(share.from, share.to), name);
      assertEquals([...await result.mixed.labels.read()], others.slice(share.from, share.to), name);
      assertEquals([...await result.mixed.share.read()], [expected], name);
      if (result.x !== undefined && share.to - share.from === 6) {
        pixels.push(String([...await result.x.read()]));
      }
    }
  }
  assertEquals(pixels[0], pixels[1]);
});

Deno.test("the loss of mixed images is that of both labels, by their shares, also in micro-batches", async () => {
  await using device = await open("reference");
  const losses = jit((z: Tensor, labels: Tensor, others: Tensor, share: Tensor) => {
    const batch = { x: z, images: z, labels, mixed: { labels: others, share } };
    const parts = microBatches(batch, 2).map((part, i) =>
      withLoss(part).lossOf(z.slice([2 * i, 0], [2 * i + 2, 3]))
    );
    return {
      got: withLoss(batch).lossOf(z),
      parts: parts[0]!.add(parts[1]!).mul(0.5),
      own: crossEntropy(z, labels),
      other: crossEntropy(z, others),
    };
  }, { device });
  const z = new HostArray(Float32Array.from({ length: 12 }, (_, i) => Math.sin(3 * i)), [4, 3]);
  const result = losses(
    z,
    Int32Array.of(0, 1, 2, 2),
    Int32Array.of(2, 0, 1, 2),
    new HostArray(Float32Array.of(0.3), []),
  );
  const [got, parts, own, other] = await Promise.all(
    [result.got, result.parts, result.own, result.other].map(async (each) => (await each.read())[0]!),
  );
  assertAlmostEquals(got!, 0.3 * own! + 0.7 * other!, 1e-6);
  assertAlmostEquals(parts!, got!, 1e-6);
});

Deno.test("a network learns from images that are changed, erased and mixed", async () => {
  await using device = await open("cpu");
  const augmentation: Augmentation = {
    border: 1,
    fill: "reflect",
    flip: true,
    colourJitter: { brightness: 0.2, contrast: 0.2 },
    erase: { probability: 0.25, area: [0.02, 0.1] },
    mix: { mixup: 0.2, cutmix: 1 },
  };
  using t = await make({ device });
  const { last } = await t.fit({ ...tinyDataset(96, 30), augmentation }, {
    epochs: 8,
    observers: [],
    evaluateEvery: 8,
  });
  assert(last!.error < 0.2, JSON.stringify(last));
});
