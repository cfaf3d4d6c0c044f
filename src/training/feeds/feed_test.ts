import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { skips } from "../../../tests/gate.ts";
import { tinyDataset, tinyModel } from "../../../tests/tiny.ts";
import type { EpochRecord, Snapshot, StepRecord } from "../../artifacts/observer.ts";
import { openWebgpu } from "../../backends/webgpu/backend.ts";
import { LocalgradError } from "../../base/errors.ts";
import { type Key, key } from "../../base/random.ts";
import type { ImageDataset, ImagePart, LabelledImages, StreamedImages } from "../../data/images.ts";
import { dgl } from "../../local/methods/dgl.ts";
import { man } from "../../local/methods/man.ts";
import { type Share, shareOf } from "../../local/processes/shares.ts";
import type { Named } from "../../nn/named.ts";
import { constant } from "../../optim/schedules.ts";
import { sgd } from "../../optim/sgd.ts";
import type { Device } from "../../runtime/arrays.ts";
import { open } from "../../runtime/devices.ts";
import { jit } from "../../runtime/jit.ts";
import type { Tensor } from "../../trace/tensor.ts";
import type { SuppliedBatch } from "./feed.ts";
import { imageFeed } from "./image_feed.ts";
import { trainer } from "../trainer.ts";

/** Calls to a reader of {@link streamed}. */
interface Log {
  /** Keys of the requested batches, in order. */
  readonly keys: string[];
  opened: number;
  closed: number;
  /** Batches requested but not yet supplied. */
  waiting: number;
  mostWaiting: number;
}

/** Images of a part, supplied one batch at a time after a delay. */
function streamed(part: LabelledImages, log: Log, delay: (read: number) => number = () => 0): StreamedImages {
  const size = part.images.length / part.count;
  return {
    labels: part.labels,
    count: part.count,
    open() {
      log.opened++;
      let reads = 0;
      return {
        ahead: 40,
        done: { images: 0, milliseconds: 0 },
        async read(indices, key) {
          log.keys.push(String(key));
          log.mostWaiting = Math.max(log.mostWaiting, ++log.waiting);
          const milliseconds = delay(reads++);
          await new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));
          log.waiting--;
          if (milliseconds < 0) throw new LocalgradError("photo.jpg is damaged");
          const pixels = new Uint8Array(indices.length * size);
          indices.forEach((index, i) =>
            pixels.set(part.images.subarray(index * size, (index + 1) * size), i * size)
          );
          return pixels;
        },
        [Symbol.asyncDispose]() {
          log.closed++;
          return Promise.resolve();
        },
      };
    },
  };
}

const newLog = (): Log => ({ keys: [], opened: 0, closed: 0, waiting: 0, mostWaiting: 0 });

/** A data set without augmentation, so that streamed images must equal resident ones. */
function plainSet(train: number, test: number): ImageDataset {
  return { ...tinyDataset(train, test), augmentation: { border: 0, fill: "zero", flip: false } };
}

const make = (device: Device) =>
  trainer({
    device,
    model: tinyModel(),
    modules: 2,
    method: man(dgl()),
    optimizer: sgd({ momentum: 0.9 }),
    schedule: constant(0.05),
    batch: 16,
    seed: 3,
  });

/** Trains two epochs; returns the records of steps and epochs, and the final snapshot. */
async function run(device: Device, data: ImageDataset<ImagePart>, stopAfter?: number, from?: Snapshot) {
  const steps: StepRecord[] = [], epochs: EpochRecord[] = [];
  const stop = new AbortController();
  using t = await make(device);
  if (from !== undefined) t.restore(from);
  await t.fit(data, {
    epochs: 2,
    signal: stop.signal,
    observers: [{
      step: (record) => void steps.push(record),
      epoch: (record) => void epochs.push(record),
      start: () => {
        if (stopAfter === undefined) return;
        const watch = () => t.stepsDone >= stopAfter ? stop.abort() : setTimeout(watch, 0);
        watch();
      },
    }],
  });
  return { steps, epochs, snapshot: await t.snapshot() };
}

const values = (snapshot: Snapshot) => [...snapshot.tensors].map(([name, { data }]) => [name, [...data]]);

const noWebgpu = await skips("webgpu", openWebgpu);

for (const name of ["cpu", "webgpu"] as const) {
  const ignore = name === "webgpu" && noWebgpu;

  Deno.test(
    `streamed images train and evaluate as resident ones do, bit for bit, on ${name}`,
    { ignore },
    async () => {
      await using device = await open(name);
      const resident = plainSet(40, 21);
      const log = newLog();
      const stream = {
        ...resident,
        train: streamed(resident.train, log),
        test: streamed(resident.test, log),
      };
      const [a, b] = [await run(device, resident), await run(device, stream)];
      assertEquals(b.steps, a.steps);
      assertEquals(b.epochs.map(({ testLoss }) => testLoss), a.epochs.map(({ testLoss }) => testLoss));
      assertEquals(values(b.snapshot), values(a.snapshot));
      assertEquals([log.opened, log.closed], [2, 2]);
      assertEquals([a.epochs[0].loading, device.liveArrays], [undefined, 0]);
    },
  );
}

Deno.test("a streamed run that is stopped and resumed requests the same batches with the same keys", async () => {
  await using device = await open("cpu");
  const resident = plainSet(40, 8); // 3 steps per epoch
  const set = (log: Log) => ({
    ...resident,
    train: streamed(resident.train, log),
    test: streamed(resident.test, newLog()),
  });
  const [whole, first, second] = [newLog(), newLog(), newLog()];
  const uninterrupted = await run(device, set(whole));
  assertEquals(new Set(whole.keys).size, 6);
  const { snapshot } = await run(device, set(first), 2);
  assert(snapshot.step >= 2 && snapshot.step < 6, `${snapshot.step}`);
  const { snapshot: end } = await run(device, set(second), undefined, snapshot);
  assertEquals(second.keys, whole.keys.slice(snapshot.step));
  assertEquals(values(end), values(uninterrupted.snapshot));
});

Deno.test("batches are requested ahead of use, beyond the end of an epoch, and waiting is measured", async () => {
  await using device = await open("cpu");
  const resident = plainSet(64, 8);
  const log = newLog();
  const slow = { ...resident, train: streamed(resident.train, log, () => 300), test: resident.test };
  const { epochs } = await run(device, slow as ImageDataset<ImagePart>);
  assertEquals(log.mostWaiting, 4); // ahead is 40 images, three batches, besides the one in use
  // A low bound: on a busy machine the steps themselves take long.
  assert(epochs[1].loading!.waiting > 0.1, `${epochs[1].loading!.waiting}`);
  const fast = { ...resident, train: streamed(resident.train, newLog()), test: resident.test };
  const { epochs: quick } = await run(device, fast as ImageDataset<ImagePart>);
  assert(quick[1].loading!.waiting < epochs[1].loading!.waiting, `${quick[1].loading!.waiting}`);
});

Deno.test("an image that cannot be read ends the run with its error, and the readers are closed", async () => {
  await using device = await open("cpu");
  const resident = plainSet(64, 8);
  const log = newLog();
  const faulty = {
    ...resident,
    train: streamed(resident.train, log, (read) => read === 2 ? -1 : 0),
    test: streamed(resident.test, log),
  };
  await assertRejects(() => run(device, faulty), LocalgradError, "photo.jpg is damaged");
  assertEquals([log.opened, log.closed, device.liveArrays], [2, 2, 0]);
});

Deno.test("the images of a share are those of the whole batch, augmented alike", async () => {
  await using device = await open("reference");
  const data = tinyDataset(8, 1);
  const log: Log = { keys: [], opened: 0, closed: 0, waiting: 0, mostWaiting: 0 };
  for (const train of [data.train, streamed(data.train, log)]) {
    await using feed = imageFeed(device, data, train);
    const made = (share?: Share) =>
      jit((data: Named<Tensor>, indices: Tensor, augment: Tensor) => {
        const { x, images, labels } = feed.batch(data, indices, augment, share);
        return { x, images, labels };
      }, { device });
    const indices = Uint32Array.of(7, 0, 3, 5, 2, 6, 1);
    const [augment, supplied] = [key(4), []] as [Key, SuppliedBatch[]];
    for await (const batch of feed.supply([{ indices, key: augment }])) supplied.push(batch);
    const read = async (share?: Share) => {
      const found = made(share)(supplied[0].data, indices, augment);
      const arrays = [found.x, found.images, found.labels];
      const values = await Promise.all(arrays.map(async (array) => [...await array.read()]));
      for (const array of arrays) array.dispose();
      return values;
    };
    const whole = await read();
    const shares = [0, 1, 2].map((i) => shareOf(7, 3, i));
    assertEquals(shares.map(({ from, to }) => to - from), [2, 2, 3]);
    const parts = await Promise.all(shares.map(read));
    whole.forEach((values, i) => assertEquals(parts.flatMap((part) => part[i]), values));
    const plain = Array.from(
      data.train.images.subarray(7 * 192, 7 * 192 + 192),
      (byte) => Math.fround(byte / 255),
    );
    if ("images" in train) assertNotEquals(whole[1].slice(0, 192), plain, "augmented");
  }
});
