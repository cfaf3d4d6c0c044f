import type { DriverMemory } from "../backends/backend.ts";
import {
  decodeJson,
  type Decoder,
  list,
  number,
  numberOrNone,
  object,
  oneOf,
  optional,
  record,
  text,
  whole,
} from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { openAlone, readIfThere, writeAll } from "../base/files.ts";
import { refusal } from "../base/system.ts";
import type { BlockAge, EpochRecord, HeldMemory, Loading, StepRecord } from "./observer.ts";

/** A line of `metrics.jsonl` for a training step. */
export interface StepLine {
  /** Kind of the line. */
  readonly kind: "step";
  /** The step's number, from 1. */
  readonly step: number;
  /** The loss of each module. */
  readonly losses: readonly number[];
  /** Fraction of the batch classified correctly; undefined for a regression. */
  readonly accuracy?: number;
  /** Mean squared error of the batch, of a regression. */
  readonly meanSquaredError?: number;
  /** The norm of each module's gradients before clipping, if they are clipped by norm. */
  readonly gradientNorms?: readonly number[];
  /** The learning rate. */
  readonly learningRate: number;
}

/** A line of `metrics.jsonl` for an epoch. */
export interface EpochLine extends Omit<EpochRecord, "best" | "held"> {
  /** Kind of the line. */
  readonly kind: "epoch";
  /** Measured memory of the device after the epoch; undefined in runs of older versions. */
  readonly held?: HeldMemory;
  /** When it was written, in UTC: `2026-01-31T12:00:00.000Z`; undefined in runs of older versions. */
  readonly time?: string;
  /**
   * Seconds that the run took until then, in all its attempts: from the start of each, without what a resumed run does
   * again; undefined in runs of older versions.
   */
  readonly seconds?: number;
}

/** A line of `metrics.jsonl`. */
export type MetricsLine = StepLine | EpochLine;

/** The line of a step. */
export function stepLine(
  { epoch: _, images: __, step, losses, learningRate, ...rest }: StepRecord,
): StepLine {
  return { kind: "step", step, losses, ...rest, learningRate };
}

/** The line of an epoch, `seconds` into the run. */
export function epochLine(record: EpochRecord, seconds: number): EpochLine {
  const { best: _, ...kept } = record;
  return { kind: "epoch", ...kept, time: new Date().toISOString(), seconds };
}

/** The seconds that a run took until its last evaluation; undefined before the first, and in runs of older versions. */
export function secondsOf(lines: readonly MetricsLine[]): number | undefined {
  const last = lines.findLast((line) => line.kind === "epoch");
  return last?.kind === "epoch" ? last.seconds : undefined;
}

/** A line as it is written: of a regression, the test error has only its own name, `meanSquaredError`. */
function written(line: MetricsLine): object {
  if (line.kind === "step" || line.meanSquaredError === undefined) return line;
  const { testError: _, ...named } = line;
  return named;
}

const stepFields = object<StepLine>({
  kind: oneOf(["step"]),
  step: whole(1),
  losses: list(numberOrNone), // the step whose loss is NaN, which ends the run, is written too
  accuracy: optional(numberOrNone),
  meanSquaredError: optional(numberOrNone),
  gradientNorms: optional(list(numberOrNone)),
  learningRate: number,
});

const epochFields = {
  kind: oneOf<"epoch">(["epoch"]),
  epoch: whole(1),
  meanSquaredError: optional(numberOrNone),
  meanAbsoluteError: optional(numberOrNone),
  meanIoU: optional(numberOrNone),
  topFiveError: optional(numberOrNone),
  testLoss: numberOrNone,
  perClass: optional(list(object<NonNullable<EpochRecord["perClass"]>[number]>({
    images: whole(),
    recall: optional(number),
    precision: optional(number),
    iou: optional(number),
  }))),
  confusion: optional(list(list(whole()))),
  metrics: optional(record(numberOrNone)),
  imagesPerSecond: number,
  plannedPeakBytes: number,
  held: optional(object<HeldMemory>({
    bytes: number,
    dataBytes: number,
    driver: optional(object<DriverMemory>({ usedBytes: number, takenBytes: number })),
    residentBytes: optional(number),
  })),
  loading: optional(object<Loading>({ imagesPerSecond: number, waiting: number })),
  staleness: optional(object<BlockAge>({ mean: number, most: whole() })),
  time: optional(text),
  seconds: optional(number),
};

const classifierEpoch = object<EpochLine>({ testError: numberOrNone, ...epochFields });
const regressionEpoch = object<Omit<EpochLine, "testError">>(epochFields);
const named = object<Pick<EpochLine, "meanSquaredError">>({ meanSquaredError: optional(numberOrNone) });

/** The line of an epoch; that of a regression names its error, see {@link written}. */
const epochDecoder: Decoder<EpochLine> = (value, at) => {
  const { meanSquaredError } = named(value, at);
  if (meanSquaredError === undefined) return classifierEpoch(value, at);
  return { ...regressionEpoch(value, at), testError: meanSquaredError };
};

const kindOf = object({ kind: oneOf(["step", "epoch"]) });

/** A line of either kind. */
const metricsLine: Decoder<MetricsLine> = (value, at) =>
  (kindOf(value, at).kind === "step" ? stepFields : epochDecoder)(value, at);

const FILE_LIMIT = 2 ** 30;
const LINE_LIMIT = 2 ** 20;

/**
 * Reads a `metrics.jsonl`, without a last line that was not completely written. Empty if there is no such file.
 *
 * @throws {LocalgradError} if a line is not that of a step or an epoch; the error names line and field.
 */
export async function readMetrics(path: string): Promise<MetricsLine[]> {
  return (await scan(path)).map(({ line }) => line);
}

async function scan(path: string): Promise<{ line: MetricsLine; end: number }[]> {
  const bytes = await readIfThere(path, FILE_LIMIT);
  if (bytes === undefined) return [];
  const lines: { line: MetricsLine; end: number }[] = [];
  for (let start = 0, stop; (stop = bytes.indexOf(10, start)) >= 0; start = stop + 1) {
    const source = { file: path, line: lines.length + 1, remedy: "move the file away to resume" };
    if (stop - start > LINE_LIMIT) {
      throw new LocalgradError(
        `${path}, line ${source.line} is longer than any that localgrad writes; ${source.remedy}`,
      );
    }
    lines.push({ line: decodeJson(bytes.subarray(start, stop), source, metricsLine), end: stop + 1 });
  }
  return lines;
}

/** Steps per epoch; undefined before the end of the first. The line of an epoch follows that of its last step. */
function stepsOfEpoch(lines: readonly MetricsLine[]): number | undefined {
  const at = lines.findIndex(({ kind }) => kind === "epoch");
  const [step, epoch] = [lines[at - 1], lines[at]];
  return step?.kind === "step" && epoch?.kind === "epoch" ? step.step / epoch.epoch : undefined;
}

/** Appends to a `metrics.jsonl`. */
export class MetricsWriter implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #path: string;

  private constructor(file: Deno.FsFile, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /**
   * Opens the file of a run that has done `step` steps. Lines of later steps are cut off, because the run will do those
   * again. Returns the lines that stay.
   *
   * @throws {LocalgradError} if another process writes the file, or its epochs have another number of steps, so that
   * the run could not resume as it was.
   */
  static async open(
    path: string,
    step: number,
    stepsPerEpoch: number,
  ): Promise<{ writer: MetricsWriter; lines: MetricsLine[] }> {
    const file = await openAlone(path);
    try {
      const lines = await scan(path);
      const before = stepsOfEpoch(lines.map(({ line }) => line));
      if (before !== undefined && before !== stepsPerEpoch) {
        throw new LocalgradError(
          `the run of ${path} has ${before} steps per epoch, not ${stepsPerEpoch}; resume with the images it was started with`,
        );
      }
      const done = ({ line }: { line: MetricsLine }) =>
        line.kind === "step" ? line.step <= step : line.epoch * stepsPerEpoch <= step;
      const later = lines.findIndex((each) => !done(each));
      const kept = later < 0 ? lines : lines.slice(0, later);
      const end = kept.at(-1)?.end ?? 0;
      await file.truncate(end);
      await file.seek(end, Deno.SeekMode.Start);
      return { writer: new MetricsWriter(file, path), lines: kept.map(({ line }) => line) };
    } catch (error) {
      file.close();
      throw refusal(error, `${path} cannot be written`);
    }
  }

  /** Appends a line. */
  async write(line: MetricsLine): Promise<void> {
    await this.#written(writeAll(this.#file, new TextEncoder().encode(JSON.stringify(written(line)) + "\n")));
  }

  /** Flushes all lines to the disk. */
  async sync(): Promise<void> {
    await this.#written(this.#file.sync());
  }

  async #written(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      throw refusal(error, `${this.#path} cannot be written`);
    }
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}
