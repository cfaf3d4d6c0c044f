import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { units } from "../../../tests/fixtures/formula.ts";
import { openRow, rows } from "../../../tests/rows.ts";
import { tinyDataset, tinyModel } from "../../../tests/tiny.ts";
import { bits, make as makeTiny, recorder } from "../../../tests/tiny_trainer.ts";
import { LocalgradError } from "../../base/errors.ts";
import { key, permutation } from "../../base/random.ts";
import { arrays } from "../../data/arrays.ts";
import { type Batches, stream, type StreamBatch } from "../../data/stream.ts";
import { dgl, infopro, trainer } from "../../local.ts";
import { type Share, shareOf } from "../../local/processes/shares.ts";
import { mlp } from "../../models.ts";
import { constant, sgd } from "../../optim.ts";
import type { Named } from "../../nn/named.ts";
import { type Device, disposeTree } from "../../runtime/arrays.ts";
import { open } from "../../runtime/devices.ts";
import { jit } from "../../runtime/jit.ts";
import { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { permutationKey } from "./feed.ts";
import { streamFeed } from "./stream_feed.ts";

const make = (device: Device) =>
  trainer({
    device,
    model: mlp({ features: 3, hidden: [16, 16], outputs: 1 }),
    modules: 2,
    method: dgl(),
    optimizer: sgd({ momentum: 0.9 }),
    schedule: constant(0.01),
    batch: 8,
    seed: 5,
  });

/** Eight vectors with values. */
const good = (i: number): StreamBatch => ({ x: units(`x${i}`, 24), labels: units(`y${i}`, 8) });

/** The indices of each batch of an epoch, in the order in which data held on the device are taken. */
function* indicesOf(seed: number, epoch: number, count: number, batch: number): Generator<number[]> {
  const order = [...permutation(permutationKey(key(seed), epoch), count)];
  for (let from = 0; from < count; from += batch) yield order.slice(from, from + batch);
}

/** The elements of `size` values at these indices. */
const at = (data: ArrayLike<number>, size: number, indices: number[]) =>
  indices.flatMap((index) => Array.from({ length: size }, (_, i) => data[index * size + i]!));

for (const { row, ignore } of await rows("cpu", "cpu-onednn", "webgpu")) {
  Deno.test(
    `a stream on ${row} trains as the same vectors held on the device, bit for bit`,
    { ignore },
    async () => {
      await using device = await openRow(row);
      const [x, labels] = [units("x", 60), units("y", 20)];
      using held = await make(device);
      const first = bits(await held.snapshot());
      const { observer, steps } = recorder();
      await held.fit(arrays({ x, labels }), { epochs: 2, observers: [observer] });
      assertEquals(steps.map(({ images }) => images), [8, 8, 4, 8, 8, 4]);
      async function* batches(epoch: number) {
        for (const indices of indicesOf(5, epoch, 20, 8)) {
          await Promise.resolve();
          yield {
            x: Float32Array.from(at(x, 3, indices)),
            labels: Float32Array.from(at(labels, 1, indices)),
          };
        }
      }
      using streamed = await make(device);
      await streamed.fit(stream({ batches, stepsPerEpoch: 3 }), { epochs: 2, observers: [] });
      const last = bits(await streamed.snapshot());
      assertEquals(last, bits(await held.snapshot()));
      assert(last["fc.weight"]!.some((value, i) => value !== first["fc.weight"]![i]));
    },
  );
}

Deno.test("a stream of bytes trains as the same images held on the device, bit for bit, also by infopro", async () => {
  await using device = await open("cpu");
  const { mean, std, classes, train, ...set } = tinyDataset(20, 4);
  const images = {
    ...set,
    mean,
    std,
    classes,
    train,
    augmentation: { border: 0, fill: "zero", flip: false },
  } as const;
  using held = await makeTiny({ device, seed: 5, batch: 8, method: infopro() });
  await held.fit(images, { epochs: 2, observers: [] });
  async function* batches(epoch: number) {
    for (const indices of indicesOf(5, epoch, 20, 8)) {
      await Promise.resolve();
      yield {
        x: Uint8Array.from(at(train.images, 192, indices)),
        labels: Uint8Array.from(at(train.labels, 1, indices)),
      };
    }
  }
  using streamed = await makeTiny({ device, seed: 5, batch: 8, method: infopro() });
  await streamed.fit(stream({ batches, stepsPerEpoch: 3, mean, std, classes }), { epochs: 2, observers: [] });
  assertEquals(bits(await streamed.snapshot()), bits(await held.snapshot()));
  // The stream's statistics and classes are the network's now.
  assert(classes.includes((await streamed.predict(train.images.subarray(0, 192))).best.name));
});

Deno.test("a stream may reuse its arrays for the next batch", async () => {
  await using device = await open("cpu");
  const [x, labels] = [new Float32Array(24), new Float32Array(8)];
  async function* batches(epoch: number, reuse: boolean): AsyncGenerator<StreamBatch> {
    for (let i = 4 * epoch;; i++) {
      const next = good(i);
      x.set(next.x as Float32Array);
      labels.set(next.labels as Float32Array);
      yield reuse ? { x: new HostArray(x, [8, 3]), labels } : next;
    }
  }
  const train = async (reuse: boolean) => {
    using t = await make(device);
    const set = stream({ batches: (epoch) => batches(epoch, reuse), stepsPerEpoch: 4 });
    await t.fit(set, { epochs: 2, observers: [] });
    return bits(await t.snapshot());
  };
  assertEquals(await train(true), await train(false));
});

Deno.test("a stream that fails at its seventh batch ends the run after six steps, and is closed", async () => {
  await using device = await open("cpu");
  const disk = new Error("the disk is gone");
  let closed = 0;
  const failing = (seventh: () => StreamBatch | undefined) =>
    async function* () {
      try {
        for (let i = 0; i < 6; i++) yield good(i);
        const last = seventh();
        if (last !== undefined) yield last;
      } finally {
        await Promise.resolve();
        closed++;
      }
    };
  const { x, labels } = good(6) as { x: Float32Array; labels: Float32Array };
  const faults: [seventh: () => StreamBatch | undefined, message: string][] = [
    [() => undefined, "there is no batch 7 of epoch 1 of stream: the stream ended after 6 batches"],
    [
      () => ({ x: new HostArray(x, [6, 4]), labels }),
      "batch 7 of epoch 1 of stream has x as f32[6,4]; mlp takes [batch,3]",
    ],
    [() => ({ x: x.subarray(1), labels }), "batch 7 of epoch 1 of stream has x as 23 values"],
    [() => ({ x, labels: labels.with(5, NaN) }), "batch 7 of epoch 1 of stream has NaN as label of input 5"],
    [() => ({ x: x.with(4, NaN), labels }), "batch 7 of epoch 1 of stream has NaN in input 1"],
    [() => ({ x: new Uint8Array(24), labels }), "has x in bytes; mlp takes vectors in f32"],
  ];
  for (const [i, [seventh, message]] of faults.entries()) {
    using t = await make(device);
    const held = device.liveArrays;
    const set = stream({ batches: failing(seventh), stepsPerEpoch: 9 });
    await assertRejects(() => t.fit(set, { epochs: 1, observers: [] }), LocalgradError, message);
    assertEquals([t.stepsDone, closed, device.liveArrays], [6, i + 1, held], message);
  }
  using t = await make(device);
  const throwing = failing(() => {
    throw disk;
  });
  const error = await assertRejects(() =>
    t.fit(stream({ batches: throwing, stepsPerEpoch: 9 }), { epochs: 1, observers: [] })
  );
  assertStrictEquals(error, disk); // as it was thrown, with the stream's own stack
  assertEquals([t.stepsDone, closed], [6, faults.length + 1]);
});

Deno.test("a run that stops closes its stream, and asks for no other epoch", async () => {
  await using device = await open("cpu");
  const events: string[] = [];
  const abort = new AbortController();
  async function* batches(epoch: number) {
    try {
      for (let i = 0;; i++) yield good(i);
    } finally {
      events.push(`closing ${epoch}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
      events.push(`closed ${epoch}`);
    }
  }
  const asked = (epoch: number) => (events.push(`asked ${epoch}`), batches(epoch));
  const set = stream({ batches: asked, stepsPerEpoch: 2 });
  using t = await make(device);
  const stopAt = (step: number) => ({
    step: (record: { step: number }) => void (record.step === step && abort.abort()),
  });
  // The steps of an epoch are reported at its end, when the next epoch waits for the first one's stream to close.
  const { stopped } = await t.fit(set, { epochs: 3, observers: [stopAt(1)], signal: abort.signal });
  assertEquals([stopped, t.stepsDone], [true, 2]);
  await new Promise((resolve) => setTimeout(resolve, 40));
  assertEquals(events, ["asked 0", "closing 0", "closed 0"]);
  assertEquals((await t.fit(set, { epochs: 2, observers: [] })).stopped, false);
  assertEquals(events.slice(3), ["asked 1", "closing 1", "closed 1"]);
});

Deno.test("an error of a stream that closes is not taken for the one that ended the run", async () => {
  await using device = await open("cpu");
  using t = await make(device);
  async function* closingBadly(first: StreamBatch) {
    try {
      for (let i = 0;; i++) yield i === 0 ? first : good(i);
    } finally {
      await Promise.reject(new Error("it does not close"));
    }
  }
  const fit = (first: StreamBatch, step = () => {}) =>
    t.fit(stream({ batches: () => closingBadly(first), stepsPerEpoch: 2 }), {
      epochs: 9,
      observers: [{ step }],
    });
  await assertRejects(
    () => fit({ ...good(0), labels: new Float32Array(8).fill(NaN) }),
    LocalgradError,
    "batch 1 of epoch 1 of stream has NaN as label",
  );
  const observing = () => {
    throw new Error("the observer failed");
  };
  await assertRejects(() => fit(good(0), observing), Error, "the observer failed");
  await assertRejects(() => fit(good(0)), Error, "it does not close"); // nothing else went wrong
});

Deno.test("mean and std are for images in bytes, and suit them", async () => {
  await using device = await open("reference");
  const fit = async (t: Promise<Awaited<ReturnType<typeof make>>>, options: object, message: string) => {
    using made = await t;
    const batches: Batches = ReadableStream.from([good(0)]);
    const set = stream({ batches, stepsPerEpoch: 1, ...options });
    await assertRejects(() => made.fit(set, { epochs: 1, observers: [] }), LocalgradError, message);
  };
  await fit(
    make(device),
    { mean: [0.5], std: [0.5] },
    "fit: stream has mean and std, which are for images in bytes: mlp takes vectors of 3 values, not images",
  );
  const classes = ["a", "b", "c"];
  await fit(
    makeTiny({ device }),
    { classes, mean: [0.5], std: [0.5] },
    "stream has mean of 1 channels, its images 3",
  );
  const valued = makeTiny({ device, model: { ...tinyModel(), task: "regression" } });
  await fit(
    valued,
    { mean: [0, 0, 0], std: [1, 0, 1] },
    "stream has 0 in its std, which cannot normalise images",
  );
});

/** Batches that nobody asks for. */
async function* batches() {
  await Promise.resolve();
  yield good(0);
}

Deno.test("the inputs of a share are those of the whole batch of a stream", async () => {
  await using device = await open("reference");
  const indices = Uint32Array.from({ length: 5 }, (_, i) => i);
  const pixels = Uint8Array.from({ length: 5 * 8 * 8 * 3 }, (_, i) => i * 7);
  const parts = [
    { x: new HostArray(units("x", 15), [5, 3]), labels: new HostArray(units("y", 5), [5, 1]) },
    { x: new HostArray(pixels, [5, 8, 8, 3]), labels: new HostArray(Int32Array.of(0, 1, 2, 0, 1)) },
  ];
  const statistics = { mean: [0.4, 0.4, 0.4], std: [0.25, 0.25, 0.25] };
  for (const data of parts) {
    const dataset = stream({
      name: "rows",
      classes: ["a", "b", "c"],
      ...statistics,
      batches,
      stepsPerEpoch: 1,
    });
    const feed = streamFeed(dataset, tinyModel(), 5, undefined);
    const read = async (share?: Share) => {
      const made = jit((data: Named<Tensor>, indices: Tensor) => {
        const { x, labels } = feed.batch(data, indices, undefined, share);
        return { x, labels };
      }, { device });
      const { x, labels } = made(data, indices);
      const values = [[...await x.read()], [...await labels.read()]];
      disposeTree([x, labels]);
      return values;
    };
    const [whole, ...shares] = await Promise.all([read(), read(shareOf(5, 2, 0)), read(shareOf(5, 2, 1))]);
    assertEquals([0, 1].map((i) => shares.flatMap((share) => share[i]!)), whole);
  }
});
