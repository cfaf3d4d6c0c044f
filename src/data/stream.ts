import { LocalgradError } from "../base/errors.ts";
import { expectObject, expectOptions, expectWhole, type Kinds, shown } from "../base/expect.ts";
import { isAsyncIterable, iterableRemedy } from "../base/iterators.ts";
import type { HostArray } from "../trace/host_array.ts";
import { type ArrayInputs, labelled, type LabelledArrays } from "./arrays.ts";

/**
 * A batch of a stream. The last of an epoch may be smaller than the others, and no batch larger than the trainer's. It is
 * copied as it comes, so that a stream may reuse its arrays.
 */
export interface StreamBatch {
  /**
   * The inputs, `[batch, features]` or `[batch, height, width, channels]`, or all values row by row: f32, used as they
   * are; or bytes of images, which are normalised by the stream's mean and deviation.
   */
  readonly x: HostArray | Float32Array | Uint8Array;
  /** Classes from 0: integers `[batch]`; or the values of a regression: f32 `[batch]` or `[batch, outputs]`. */
  readonly labels: ArrayInputs["labels"];
}

/** Batches of a run: of an epoch, counted from 0, which may be asked for again; or of the whole run, once. */
export type Batches = ((epoch: number) => AsyncIterable<StreamBatch>) | AsyncIterable<StreamBatch>;

/** A data set whose training batches come as a stream, which need not end. */
export interface StreamDataset {
  /** Its name in messages and reports. */
  readonly name: string;
  /** The batches. */
  readonly batches: Batches;
  /** The number of batches that make an epoch. */
  readonly stepsPerEpoch: number;
  /** The name of each class; absent for the values of a regression. */
  readonly classes?: readonly string[];
  /** Mean of each channel, on a scale where byte 255 is 1; for images as bytes. */
  readonly mean?: readonly number[];
  /** Standard deviation of each channel, on the same scale. */
  readonly std?: readonly number[];
  /** Inputs to evaluate on, if any. */
  readonly test?: LabelledArrays;
}

/** Options of {@link stream}. */
export interface StreamOptions {
  /**
   * A function that returns the batches of an epoch, counted from 0; or one stream for the whole run, which cannot be
   * resumed.
   */
  batches: Batches;
  /** The number of batches that make an epoch: what follows them is left, and a stream that ends before is refused. */
  stepsPerEpoch: number;
  /** The name of each class; required unless labels are the values of a regression. */
  classes?: readonly string[];
  /** Mean of each channel, on a scale where byte 255 is 1; required for images as bytes. */
  mean?: readonly number[];
  /** Standard deviation of each channel, on the same scale. */
  std?: readonly number[];
  /** Inputs in f32 to evaluate on; default none. */
  test?: ArrayInputs;
  /** Its name in messages and reports; default `stream`. */
  name?: string;
}

const STREAM_KINDS = {
  batches: "any",
  stepsPerEpoch: "number",
  classes: "array?",
  mean: "array?",
  std: "array?",
  test: "object?",
  name: "string?",
} as const satisfies Kinds<StreamOptions>;

/**
 * Makes a data set of a stream of batches, such as a generator that reads a file or a queue. Each batch is copied as it
 * comes; the next one is awaited while a step runs. The stream is closed when the run ends or stops.
 *
 * A stream is taken in the order in which it comes, and is never augmented. An epoch is `stepsPerEpoch` batches, so that
 * an endless stream has epochs too, and schedules and progress know where they are. A run that is resumed asks for the
 * batches of its epoch again and skips those that it has seen: a function must return the same batches for the same
 * epoch.
 *
 * @throws {LocalgradError} if an option is missing or impossible.
 *
 * @example
 * ```ts
 * import { data, devices, local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * async function* batches(epoch: number) {
 *   for (let i = 0; ; i++) { // without end
 *     const x = Float32Array.from({ length: 16 }, (_, j) => Math.sin(epoch + i + j));
 *     yield { x, labels: x.map((value) => 2 * value) };
 *   }
 * }
 * const doubled = data.stream({ batches, stepsPerEpoch: 5 });
 * await using device = await devices.open("cpu");
 * using trainer = await local.trainer({
 *   device,
 *   model: models.mlp({ features: 1, hidden: [4], outputs: 1 }),
 *   method: local.endToEnd(),
 *   optimizer: optim.sgd(),
 *   batch: 16,
 * });
 * await trainer.fit(doubled, { epochs: 2, observers: [] });
 * assertEquals(trainer.stepsDone, 10);
 * ```
 */
export function stream(options: StreamOptions): StreamDataset {
  expectOptions("stream", options, STREAM_KINDS);
  const { name = "stream", test, ...rest } = options;
  if (test !== undefined) expectOptions("stream: test", test, { x: "any", labels: "any" });
  const dataset = {
    ...rest,
    name,
    ...(test === undefined ? {} : { test: labelled("stream: test", test).part }),
  };
  checkStream("stream", dataset);
  return dataset;
}

/** Refuses a stream that contradicts itself. `who` begins the message. */
export function checkStream(who: string, dataset: StreamDataset): void {
  expectObject(`${who}: the data set`, dataset, { ...STREAM_KINDS, name: "string" });
  const { name, batches, stepsPerEpoch, mean, std } = dataset;
  expectWhole(`${who}: stepsPerEpoch`, stepsPerEpoch);
  if ((mean === undefined) !== (std === undefined)) {
    throw new LocalgradError(`${who}: ${name} has ${mean ? "a mean without std" : "std without a mean"}`);
  }
  if (typeof batches === "function" || isAsyncIterable(batches)) return;
  throw new LocalgradError(
    `${who}: batches is a function of the epoch or an AsyncIterable, not ${shown(batches)}${
      iterableRemedy(batches)
    }`,
  );
}
