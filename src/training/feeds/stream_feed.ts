import { LocalgradError } from "../../base/errors.ts";
import { shown } from "../../base/expect.ts";
import { type CheckedIterator, isAsyncIterable, iterableRemedy, iteratorOf } from "../../base/iterators.ts";
import { readImages } from "../../data/augment.ts";
import type { StreamBatch, StreamDataset } from "../../data/stream.ts";
import { inputShape, labelsAval, type Model } from "../../models/model.ts";
import { formatAval, sizeOf } from "../../trace/dtype.ts";
import { iota } from "../../trace/functions.ts";
import { HostArray } from "../../trace/host_array.ts";
import { labelsFaultFor } from "../data_kinds.ts";
import { all, type SuppliedBatch, tensorIn, withoutImages } from "./feed.ts";
import { rowsOf } from "../host_batch.ts";
import type { TrainingFeed } from "./training_feed.ts";

/**
 * The batches of a stream, in its order. One batch is awaited ahead. The signal ends the wait for a batch that does not
 * come.
 */
export function streamFeed(
  dataset: StreamDataset,
  model: Model,
  batch: number,
  signal: AbortSignal | undefined,
): TrainingFeed {
  const { stepsPerEpoch, mean = [], std = [] } = dataset;
  const done = { images: 0, milliseconds: 0 };
  return {
    arrays: {},
    stepsPerEpoch,
    imagesPerEpoch: stepsPerEpoch * batch,
    get made() {
      return { ...done };
    },
    batch(data, indices, _key, share = all(indices)) {
      const [x, labels] = [tensorIn(data, "x"), rowsOf(tensorIn(data, "labels"), share)];
      if (x.dtype !== "u8") {
        return withoutImages(
          { x: rowsOf(x, share), labels },
          `${dataset.name} has f32 inputs of any range; stream images in bytes`,
        );
      }
      return {
        ...readImages(
          [{ first: 0, bytes: x }],
          iota(indices.shape, 0, "u32"),
          { mean, std },
          undefined,
          undefined,
          share,
        ),
        labels,
      };
    },
    async *batches(first, end) {
      const reader = new Reader(dataset);
      const wait = new Waiting(signal);
      const read = async (step: number) => {
        const before = performance.now();
        const { value, where } = await reader.read(step);
        const supplied = checked(value, where, dataset, model, batch);
        done.images += supplied.indices.length;
        done.milliseconds += performance.now() - before;
        return supplied;
      };
      try {
        let next = read(first);
        for (let step = first; step < end; step++) {
          const supplied = await wait.for(next);
          if (supplied === undefined) return;
          if (step + 1 < end) {
            next = read(step + 1);
            next.catch(() => {}); // thrown when the batch is due, if it ever is
          }
          yield supplied;
        }
      } catch (error) {
        await reader.close().catch(() => {}); // the first error says more
        throw error;
      } finally {
        wait.end();
        await reader.close();
      }
      return undefined;
    },
  };
}

/**
 * Waits that a signal ends. Each is a promise of its own: a race against one promise for the whole run would keep every
 * batch, because a promise keeps what waits for it.
 */
class Waiting {
  readonly #signal: AbortSignal | undefined;
  #aborted: boolean;
  #leave: (() => void) | undefined;
  readonly #abort = () => {
    this.#aborted = true;
    this.#leave?.();
  };

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
    this.#aborted = signal?.aborted ?? false;
    signal?.addEventListener("abort", this.#abort);
  }

  /** The value of a promise; undefined if the signal aborts before there is one. */
  for<T>(promise: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#leave = () => resolve(undefined);
      if (this.#aborted) this.#leave();
      promise.then(resolve, reject);
    });
  }

  /** Stops listening to the signal. */
  end(): void {
    this.#signal?.removeEventListener("abort", this.#abort);
  }
}

/** Takes batches from a stream, and asks for that of each epoch if it is a function. */
class Reader {
  readonly #dataset: StreamDataset;
  #iterator: CheckedIterator<StreamBatch> | undefined;
  #epoch: number | undefined;
  /** Batches taken from the iterator. */
  #taken = 0;
  #busy = false;
  #closed = false;

  constructor(dataset: StreamDataset) {
    this.#dataset = dataset;
  }

  /** The batch of a step, with its place for messages. */
  async read(step: number): Promise<{ value: StreamBatch; where: string }> {
    const { stepsPerEpoch, batches, name } = this.#dataset;
    const epoch = Math.floor(step / stepsPerEpoch), number = step % stepsPerEpoch;
    const where = `batch ${number + 1} of epoch ${epoch + 1} of ${name}`;
    if (typeof batches !== "function") this.#iterator ??= iteratorOf(`fit: the batches of ${name}`, batches);
    else if (epoch !== this.#epoch) {
      await this.#leave();
      if (this.#closed) throw new Error(`${where} came too late`); // nobody waits for it, nor would close its stream
      const stream: unknown = batches(epoch);
      const what = `fit: the batches of epoch ${epoch} of ${name}`;
      if (!isAsyncIterable(stream)) {
        throw new LocalgradError(
          `${what} must be an AsyncIterable, not ${shown(stream)}${iterableRemedy(stream)}`,
        );
      }
      this.#iterator = iteratorOf(what, stream as AsyncIterable<StreamBatch>);
      [this.#epoch, this.#taken] = [epoch, 0];
      while (this.#taken < number) await this.#next(where); // those that the run has seen
    }
    return { value: await this.#next(where), where };
  }

  async #next(where: string): Promise<StreamBatch> {
    const result = await this.#step();
    if (result === undefined) {
      const { stepsPerEpoch } = this.#dataset;
      throw new LocalgradError(
        `fit: there is no ${where}: the stream ended after ${this.#taken} batches, and stepsPerEpoch is ` +
          stepsPerEpoch,
      );
    }
    this.#taken++;
    return result.value;
  }

  async #step(): Promise<{ value: StreamBatch } | undefined> {
    this.#busy = true;
    try {
      return await this.#iterator?.next();
    } finally {
      this.#busy = false;
    }
  }

  /** Closes the stream. One that is still working on a batch closes when it has made it, which may be never. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#leave();
  }

  async #leave(): Promise<void> {
    const iterator = this.#iterator;
    this.#iterator = undefined;
    const closed = Promise.resolve(iterator?.close());
    if (!this.#busy) await closed;
    else closed.catch(() => {});
  }
}

/** A stream's batch as a step takes it; refuses one that does not suit. */
function checked(
  value: StreamBatch,
  where: string,
  dataset: StreamDataset,
  model: Model,
  most: number,
): SuppliedBatch {
  const refuse = (fault: string): never => {
    throw new LocalgradError(`fit: ${where} ${fault}`);
  };
  if (typeof value !== "object" || value === null) {
    return refuse(`is ${shown(value)}; it must be { x, labels }`);
  }
  const foreign = Object.keys(value).find((key) => key !== "x" && key !== "labels");
  if (foreign !== undefined) refuse(`has ${shown(foreign)}; it must be { x, labels }`);
  const { x, labels } = value;
  const own = labels instanceof HostArray ? labels.data : labels;
  const isValues = own instanceof Float32Array;
  if (!isValues && !(own instanceof Int32Array || own instanceof Uint32Array || own instanceof Uint8Array)) {
    return refuse(`has labels as ${kindOf(labels)}; they are integers, or f32 for a regression`);
  }
  const pixels = x instanceof HostArray ? x.data : x;
  if (!(pixels instanceof Float32Array || pixels instanceof Uint8Array)) {
    return refuse(`has x as ${kindOf(x)}; inputs are f32, or bytes`);
  }
  const shape = inputShape(model);
  if (pixels instanceof Uint8Array && dataset.mean === undefined) {
    const remedy = shape.length === 1
      ? `${model.name} takes vectors in f32`
      : "give the stream mean and std, or x as f32";
    refuse(`has x in bytes; ${remedy}`);
  }
  const count = x instanceof HostArray ? x.shape[0] ?? 0 : pixels.length / sizeOf(shape);
  const expected = [count, ...shape];
  if (!Number.isInteger(count) || (x instanceof HostArray && String(x.shape) !== String(expected))) {
    const found = x instanceof HostArray ? formatAval(x) : `${pixels.length} values`;
    refuse(`has x as ${found}; ${model.name} takes [batch,${shape}]`);
  }
  if (count < 1) refuse("is empty");
  if (count > most) refuse(`has ${count} inputs; the trainer was made for batches of ${most}`);
  const bad = pixels instanceof Float32Array ? pixels.findIndex((value) => !Number.isFinite(value)) : -1;
  if (bad >= 0) refuse(`has ${pixels[bad]} in input ${Math.floor(bad / sizeOf(shape))}; inputs are finite`);
  const target = isValues || own instanceof Int32Array ? own : Int32Array.from(own);
  const fault = labelsFaultFor(model, dataset, target, count);
  if (fault !== undefined) refuse(fault);
  return {
    indices: Uint32Array.from({ length: count }, (_, i) => i),
    data: {
      // Copies, because the stream may reuse its arrays for the next batch, which is awaited while this one is used.
      x: new HostArray(pixels.slice(), expected),
      labels: new HostArray(target.slice(), labelsAval(model, count).shape),
    },
  };
}

function kindOf(value: unknown): string {
  return value instanceof HostArray ? formatAval(value) : shown(value);
}
