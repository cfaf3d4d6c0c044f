import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";
import { bestOf } from "./best.ts";
import { evaluatedOn, isRegression } from "./format.ts";
import type { HeldMemory } from "./observer.ts";
import type { RunReport } from "./report.ts";
import { settingsOf } from "./run_settings.ts";

/** An epoch of a run in a comparison. What was not measured is undefined; what was not finite is NaN. */
export interface EpochSummary {
  /** Number of the epoch, from 1. */
  readonly epoch: number;
  /** Fraction of the training images classified wrongly while the epoch went on; of a regression, the mean squared error. */
  readonly trainError?: number;
  /** Mean training loss of the last module, which has the network's own head. */
  readonly trainLoss?: number;
  /** Fraction of the test images classified wrongly; of a regression, the mean squared error. */
  readonly testError?: number;
  /** Mean loss over the test images. */
  readonly testLoss?: number;
  /** The mean over all classes of intersection over union, of a segmentation. */
  readonly meanIoU?: number;
}

/** A run in a comparison: its results so far. */
export interface RunSummary {
  /** Its name. */
  readonly run: string;
  /** `regression`, whose errors are mean squared errors; default classification, whose errors are fractions. */
  readonly task?: "regression";
  /** Epochs that were completed. */
  readonly epochsDone: number;
  /** Epochs that it was started for. */
  readonly epochs: number;
  /** The images that its errors are of: `test`, or `validation` if some of the training images were set aside. */
  readonly evaluatedOn: "test" | "validation";
  /** The lowest test error. */
  readonly bestError?: number;
  /** The highest mean IoU, of a segmentation. */
  readonly bestMeanIoU?: number;
  /** The epoch of the lowest test error, of a segmentation of the highest mean IoU, from 1. */
  readonly bestEpoch?: number;
  /** The last of each measurement. */
  readonly last: Omit<EpochSummary, "epoch">;
  /** Planned peak memory of a training step, in bytes. */
  readonly plannedPeakBytes: number;
  /** The same end to end. */
  readonly endToEndPeakBytes: number;
  /** Measured memory after the last evaluation. */
  readonly held?: HeldMemory;
  /** Training images per second: the median over epochs. */
  readonly imagesPerSecond?: number;
  /** Duration in seconds, if known. */
  readonly seconds?: number;
  /** Its epochs, in order. */
  readonly curve: readonly EpochSummary[];
}

/** Several runs side by side. */
export interface Comparison {
  /** The settings in which runs differ: for each, its value in every run, in order; undefined where it has none. */
  readonly differences: { readonly [setting: string]: readonly (string | undefined)[] };
  /** The runs, in order. */
  readonly runs: readonly RunSummary[];
}

/**
 * Compares runs: the settings in which they differ, and their results. Errors are fractions, or mean squared
 * errors of regressions; memory is in bytes.
 *
 * @param runs The runs by name, in the order to show them; one or more, finished or in progress.
 * @throws {LocalgradError} if there is none.
 *
 * @example
 * ```ts
 * import { data, devices, local, models, optim, train } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const folder = await Deno.makeTempDir();
 * await using device = await devices.open("cpu");
 * const images = data.shapes({ train: 32, test: 16 });
 * const runs = new Map<string, train.RunReport>();
 * for (const method of [local.dgl(), local.endToEnd()]) {
 *   const options = { device, model: models.resnet8(), modules: 3, optimizer: optim.sgd(), batch: 16 };
 *   using trainer = await local.trainer({ ...options, method });
 *   const path = `${folder}/${method.name}`;
 *   await trainer.fit(images, { epochs: 1, observers: [train.runFolder(path)] });
 *   runs.set(method.name, await train.readReport(path));
 * }
 * const comparison = train.compare(runs);
 * assertEquals(comparison.differences["method.name"], ["dgl", "endToEnd"]);
 * assertEquals(comparison.runs.map(({ epochsDone }) => epochsDone), [1, 1]);
 * await Deno.writeTextFile(`${folder}/compare.html`, train.comparisonPage(comparison));
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export function compare(runs: ReadonlyMap<string, RunReport>): Comparison {
  if (!(runs instanceof Map) || runs.size === 0) {
    throw new LocalgradError(
      "compare: needs a Map of at least one run: its name, and what readReport returns",
    );
  }
  for (const [name, run] of runs) expectKind(`compare: the run ${name}`, run, "object");
  return {
    differences: differences([...runs.values()]),
    runs: [...runs].map(([name, run]) => summary(name, run)),
  };
}

function differences(runs: readonly RunReport[]): Comparison["differences"] {
  const each = runs.map((run) => new Map(settingsOf(run)));
  const names = new Set(each.flatMap((settings) => [...settings.keys()]));
  const values = [...names].map((name) => [name, each.map((settings) => settings.get(name))] as const);
  return Object.fromEntries(values.filter(([, row]) => new Set(row).size > 1));
}

function summary(name: string, run: RunReport): RunSummary {
  const curve = epochsOf(run);
  const evaluated = run.lines.filter((line) => line.kind === "epoch");
  const { best, bestError, bestMeanIoU } = bestOf(evaluated);
  const { method, endToEnd } = run.info.memory;
  const { epoch: _, ...last } = Object.assign({}, ...curve) as EpochSummary;
  const speeds = evaluated.map(({ imagesPerSecond }) => imagesPerSecond).sort((a, b) => a - b);
  const step = run.lines.findLast((line) => line.kind === "step")?.step ?? 0;
  return defined({
    run: name,
    task: isRegression(run.info.configuration) ? "regression" : undefined,
    epochsDone: Math.floor(step / run.info.stepsPerEpoch),
    epochs: run.info.epochs,
    evaluatedOn: evaluatedOn(run.info),
    bestError,
    bestMeanIoU,
    bestEpoch: best?.epoch,
    last,
    plannedPeakBytes: method.peakBytes,
    endToEndPeakBytes: endToEnd.peakBytes,
    held: evaluated.at(-1)?.held,
    imagesPerSecond: speeds[speeds.length >> 1],
    seconds: run.seconds,
    curve,
  });
}

/** The epochs of a run; the last may be in progress. */
function epochsOf({ info, lines }: RunReport): EpochSummary[] {
  const sums = new Map<number, { steps: number; error: number; loss: number }>();
  const tests = new Map<number, Pick<EpochSummary, "testError" | "testLoss" | "meanIoU">>();
  for (const line of lines) {
    if (line.kind === "epoch") {
      const { testError, testLoss, meanIoU } = line;
      tests.set(line.epoch, defined({ testError, testLoss, meanIoU }));
      continue;
    }
    const epoch = Math.ceil(line.step / info.stepsPerEpoch);
    const { steps, error, loss } = sums.get(epoch) ?? { steps: 0, error: 0, loss: 0 };
    sums.set(epoch, {
      steps: steps + 1,
      error: error + (line.accuracy === undefined ? line.meanSquaredError ?? NaN : 1 - line.accuracy),
      loss: loss + (line.losses.at(-1) ?? NaN),
    });
  }
  const epochs = [...new Set([...sums.keys(), ...tests.keys()])].sort((a, b) => a - b);
  return epochs.map((epoch) => {
    const sum = sums.get(epoch);
    const train = sum && { trainError: sum.error / sum.steps, trainLoss: sum.loss / sum.steps };
    return { epoch, ...train, ...tests.get(epoch) };
  });
}

/** An object without properties that are undefined. */
function defined<T extends object>(
  value: { readonly [K in keyof T]: T[K] | undefined },
): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}
