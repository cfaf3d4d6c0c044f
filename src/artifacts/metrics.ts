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
  whole,
} from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { openAlone, readIfThere, writeAll } from "../base/files.ts";
import { refusal } from "../base/system.ts";
import type { EpochRecord, HeldMemory, Loading, StepRecord } from "./observer.ts";

/** A line of `metrics.jsonl` for a training step. */
export interface StepLine {
  /** What the line is about. */
  readonly kind: "step";
  /** Which step, from 1. */
  readonly step: number;
  /** The loss of each module. */
  readonly losses: readonly number[];
  /** The fraction of the batch classified correctly. */
  readonly accuracy: number;
  /** The learning rate. */
  readonly learningRate: number;
}

/** A line of `metrics.jsonl` for an epoch. */
export interface EpochLine extends Omit<EpochRecord, "best" | "held"> {
  /** What the line is about. */
  readonly kind: "epoch";
  /** What the device really held after the epoch; older runs did not write it. */
  readonly held?: HeldMemory;
}

/** A line of `metrics.jsonl`. */
export type MetricsLine = StepLine | EpochLine;

/** The line of a step. */
export function stepLine({ step, losses, accuracy, learningRate }: StepRecord): StepLine {
  return { kind: "step", step, losses, accuracy, learningRate };
}

/** The line of an epoch. */
export function epochLine(record: EpochRecord): EpochLine {
  const { best: _, ...kept } = record;
  return { kind: "epoch", ...kept };
}

const stepFields = object<StepLine>({
  kind: oneOf(["step"]),
  step: whole(1),
  losses: list(numberOrNone), // the step before a run ends for a loss that is no number is written too
  accuracy: numberOrNone,
  learningRate: number,
});

const epochFields = object<EpochLine>({
  kind: oneOf(["epoch"]),
  epoch: whole(1),
  testError: numberOrNone,
  topFiveError: optional(numberOrNone),
  testLoss: numberOrNone,
  imagesPerSecond: number,
  plannedPeakBytes: number,
  held: optional(object<HeldMemory>({
    bytes: number,
    dataBytes: number,
    driver: optional(object<DriverMemory>({ usedBytes: number, takenBytes: number })),
  })),
  loading: optional(object<Loading>({ imagesPerSecond: number, waiting: number })),
});

const kindOf = object({ kind: oneOf(["step", "epoch"]) });

/** A line of either kind. */
const metricsLine: Decoder<MetricsLine> = (value, at) =>
  (kindOf(value, at).kind === "step" ? stepFields : epochFields)(value, at);

const FILE_LIMIT = 2 ** 30;
const LINE_LIMIT = 2 ** 20;

/**
 * Reads a `metrics.jsonl`; a last line that was not written whole is left out. Empty where there is no such file.
 *
 * @throws {LocalgradError} where a line is none of a step or an epoch; it names line and field.
 */
export async function readMetrics(path: string): Promise<MetricsLine[]> {
  return (await scan(path)).map(({ line }) => line);
}

async function scan(path: string): Promise<{ line: MetricsLine; end: number }[]> {
  const bytes = await readIfThere(path, FILE_LIMIT);
  if (bytes === undefined) return [];
  const lines: { line: MetricsLine; end: number }[] = [];
  for (let start = 0, stop; (stop = bytes.indexOf(10, start)) >= 0; start = stop + 1) {
    const source = { file: path, line: lines.length + 1, remedy: "move the file away to go on" };
    if (stop - start > LINE_LIMIT) {
      throw new LocalgradError(`${path}, line ${source.line} is longer than any of ours; ${source.remedy}`);
    }
    lines.push({ line: decodeJson(bytes.subarray(start, stop), source, metricsLine), end: stop + 1 });
  }
  return lines;
}

/** The steps of each epoch: an epoch's line follows that of its last step. Undefined where none was finished. */
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
   * Opens the file of a run that did `step` steps, `stepsPerEpoch` of them an epoch. What is written there about later
   * ones is cut off: those are going to be done again. Gives the lines that stay.
   *
   * @throws {LocalgradError} where another process writes it, or epochs had another number of steps, so that the run
   * cannot go on as it was.
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
          `the run of ${path} has ${before} steps an epoch, not ${stepsPerEpoch}; go on with the images it was started with`,
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
    await this.#written(writeAll(this.#file, new TextEncoder().encode(JSON.stringify(line) + "\n")));
  }

  /** Waits until all lines are on the disk. */
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
