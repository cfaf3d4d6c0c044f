/**
 * Metrics of a run for OpenTelemetry, which Deno exports by itself where `OTEL_DENO=true` is set. A separate sub-path,
 * because it needs a package: OpenTelemetry's interface.
 *
 * @module
 */

import { metrics } from "npm:@opentelemetry/api@1.9.0";
import { evaluatedOn } from "./artifacts/format.ts";
import type { EpochRecord, Observer, RunInfo, StepRecord } from "./artifacts/observer.ts";
import { expectOptions } from "./base/expect.ts";

/** Attributes of a value. */
export interface Attributes {
  /** The value of each by name. */
  readonly [name: string]: string | number | boolean;
}

/** Unit (UCUM) and description of an instrument. */
export interface InstrumentOptions {
  /** Its unit. */
  readonly unit: string;
  /** Its description. */
  readonly description: string;
}

/** An instrument for a sum. */
export interface Counter {
  /** Adds to the sum. */
  add(value: number, attributes: Attributes): void;
}

/** An instrument for the current value of something. */
export interface Gauge {
  /** Sets the value. */
  record(value: number, attributes: Attributes): void;
}

/** What this observer needs of OpenTelemetry's `Meter`. */
export interface Meter {
  /** Makes a counter. */
  createCounter(name: string, options: InstrumentOptions): Counter;
  /** Makes a gauge. */
  createGauge(name: string, options: InstrumentOptions): Gauge;
}

/** Options of {@link openTelemetry}. */
export interface OpenTelemetryOptions {
  /** Attributes of all values beside model and method, such as the run's name; default none. */
  readonly attributes?: Attributes;
  /** The meter that makes the instruments; default that of the process, named `localgrad`. */
  readonly meter?: Meter;
}

/** The gauges: name, unit (UCUM) and description. */
const GAUGES = {
  loss: ["localgrad.train.loss", "1", "Training loss of a module in the last step"],
  error: ["localgrad.train.error", "1", "Fraction of the last batch classified wrongly"],
  squaredError: ["localgrad.train.mean_squared_error", "1", "Mean squared error of the last batch"],
  rate: ["localgrad.train.learning_rate", "1", "Learning rate"],
  norm: ["localgrad.train.gradient_norm", "1", "Norm of a module's gradients before clipping"],
  speed: ["localgrad.train.speed", "{image}/s", "Training images per second, without evaluation"],
  epoch: ["localgrad.epoch", "{epoch}", "The last epoch that was evaluated, from 1"],
  testError: ["localgrad.test.error", "1", "Fraction of the test images classified wrongly"],
  testSquaredError: ["localgrad.test.mean_squared_error", "1", "Mean squared error over the test inputs"],
  testAbsoluteError: ["localgrad.test.mean_absolute_error", "1", "Mean absolute error over the test inputs"],
  meanIoU: ["localgrad.test.mean_iou", "1", "Mean intersection over union of the classes, of a segmentation"],
  topFiveError: ["localgrad.test.top_five_error", "1", "The same of the five most likely classes"],
  testLoss: ["localgrad.test.loss", "1", "Mean loss over the test images"],
  planned: ["localgrad.memory.planned", "By", "Planned peak memory of a training step"],
  allocated: ["localgrad.memory.allocated", "By", "Memory allocated on the device"],
  resident: ["localgrad.memory.resident", "By", "Resident memory of the process"],
} as const satisfies { readonly [name: string]: readonly [name: string, unit: string, description: string] };

/**
 * An observer that records a run as OpenTelemetry metrics: counters `localgrad.train.steps` and
 * `localgrad.train.images`, and gauges `localgrad.train.loss` (one for each module), `.error`, `.learning_rate`,
 * `.gradient_norm` and `.speed`, `localgrad.epoch`, `localgrad.test.error`, `.top_five_error` and `.loss` (of a run with
 * a validation split, `localgrad.validation.error` …), and
 * `localgrad.memory.planned`, `.allocated` and `.resident`, in bytes. A regression has `.mean_squared_error` in place of
 * `.error`, and `localgrad.test.mean_absolute_error`. Attributes: `localgrad.model`,
 * `localgrad.method`, and `localgrad.module` where there are several. Values that are not finite are left out.
 *
 * Deno exports them every minute and at the end, by OTLP to `OTEL_EXPORTER_OTLP_ENDPOINT`, without a permission:
 * `OTEL_DENO=true deno run train.ts`. Without `OTEL_DENO` or a meter of one's own nothing is recorded.
 *
 * @throws {LocalgradError} if an option is unknown or of the wrong kind.
 *
 * @example
 * ```ts
 * import { data, devices, local, models, optim } from "@localgrad/localgrad";
 * import { openTelemetry } from "@localgrad/localgrad/opentelemetry";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("cpu");
 * using trainer = await local.trainer({
 *   device,
 *   model: models.resnet8({ classes: 10 }),
 *   method: local.endToEnd(),
 *   optimizer: optim.sgd({ momentum: 0.9 }),
 *   batch: 16,
 * });
 * const images = data.shapes({ train: 32, test: 16 });
 * const observers = [openTelemetry({ attributes: { run: "first" } })];
 * assertEquals((await trainer.fit(images, { epochs: 1, observers })).stopped, false);
 * ```
 */
export function openTelemetry(options: OpenTelemetryOptions = {}): Observer {
  expectOptions("openTelemetry", options, { attributes: "object?", meter: "object?" });
  return new Telemetry(options.meter ?? metrics.getMeter("localgrad"), options.attributes ?? {});
}

class Telemetry implements Observer {
  readonly #meter: Meter;
  readonly #steps: Counter;
  readonly #images: Counter;
  readonly #gauges = new Map<string, Gauge>();
  #attributes: Attributes;
  #info!: RunInfo;

  constructor(meter: Meter, attributes: Attributes) {
    this.#meter = meter;
    this.#steps = meter.createCounter("localgrad.train.steps", {
      unit: "{step}",
      description: "Training steps done",
    });
    this.#images = meter.createCounter("localgrad.train.images", {
      unit: "{image}",
      description: "Training images seen",
    });
    this.#attributes = attributes;
  }

  start(info: RunInfo): void {
    const { model, method } = info.configuration;
    this.#info = info;
    this.#attributes = {
      ...typeof model === "string" ? { "localgrad.model": model } : {},
      ...hasName(method) ? { "localgrad.method": String(method.name) } : {},
      ...this.#attributes,
    };
    this.#record("planned", info.memory.method.peakBytes);
  }

  step(record: StepRecord): void {
    const { losses, accuracy, meanSquaredError, gradientNorms = [], learningRate, images } = record;
    this.#steps.add(1, this.#attributes);
    this.#images.add(images, this.#attributes);
    losses.forEach((loss, i) => this.#record("loss", loss, this.#module(i)));
    gradientNorms.forEach((norm, i) => this.#record("norm", norm, this.#module(i)));
    this.#record("error", accuracy === undefined ? undefined : 1 - accuracy);
    this.#record("squaredError", meanSquaredError);
    this.#record("rate", learningRate);
  }

  epoch(record: EpochRecord): void {
    const { epoch, testError, meanIoU, topFiveError, testLoss, imagesPerSecond, held } = record;
    const { meanSquaredError, meanAbsoluteError } = record;
    this.#record("epoch", epoch);
    this.#record("testError", meanSquaredError === undefined ? testError : undefined);
    this.#record("testSquaredError", meanSquaredError);
    this.#record("testAbsoluteError", meanAbsoluteError);
    this.#record("meanIoU", meanIoU);
    this.#record("topFiveError", topFiveError);
    this.#record("testLoss", testLoss);
    this.#record("speed", imagesPerSecond);
    this.#record("allocated", held.bytes);
    this.#record("resident", held.residentBytes);
  }

  /** The attribute of a module: its number and blocks. */
  #module(index: number): Attributes {
    const { modules } = this.#info;
    return modules.length === 1 ? {} : { "localgrad.module": `${index + 1}: ${modules[index]}` };
  }

  #record(which: keyof typeof GAUGES, value: number | undefined, more: Attributes = {}): void {
    if (value === undefined || !Number.isFinite(value)) return;
    const [test, unit, text] = GAUGES[which];
    const kind = evaluatedOn(this.#info);
    const name = test.replace("localgrad.test.", `localgrad.${kind}.`);
    const description = text.replace("test images", `${kind} images`);
    const gauge = this.#gauges.get(name) ?? this.#meter.createGauge(name, { unit, description });
    this.#gauges.set(name, gauge);
    gauge.record(value, { ...this.#attributes, ...more });
  }
}

const hasName = (value: unknown): value is { readonly name: unknown } =>
  typeof value === "object" && value !== null && "name" in value;
