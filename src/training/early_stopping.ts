import type { Patience } from "../artifacts/observer.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions, expectWhole, shown } from "../base/expect.ts";
import { type Model, regresses, segments } from "../models/model.ts";
import type { Evaluation } from "./evaluate.ts";

/** Stops a run whose evaluations no longer improve. */
export interface EarlyStopping {
  /** Evaluations without an improvement after which the run stops. */
  readonly patience: number;
  /**
   * The value that should fall: a field of an evaluation; default `error`, of a regression `meanSquaredError`, which is
   * the same. Of a segmentation the default is `meanIoU`, which should rise.
   */
  readonly metric?: "error" | "topFiveError" | "loss" | "meanIoU" | "meanSquaredError" | "meanAbsoluteError";
  /** The smallest change that counts as an improvement; default 0, where any counts. */
  readonly minDelta?: number;
}

/** The fields of an evaluation that early stopping can follow, of a classifier. */
const CLASS_METRICS = ["error", "topFiveError", "loss"] as const;

/** The same of a segmentation. */
const PIXEL_METRICS = ["meanIoU", "error", "loss"] as const;

/** The same of a regression. */
const VALUE_METRICS = ["meanSquaredError", "meanAbsoluteError", "loss"] as const;

/** Those that the data sets of the command line have. */
export const METRICS = [...CLASS_METRICS, "meanIoU"] as const;

/** Refuses impossible settings. */
export function checkEarlyStopping(options: EarlyStopping, model: Pick<Model, "task">): void {
  expectOptions("fit: earlyStopping", options, {
    patience: "number",
    metric: "string?",
    minDelta: "number?",
  });
  const known: readonly string[] = regresses(model)
    ? VALUE_METRICS
    : segments(model)
    ? PIXEL_METRICS
    : CLASS_METRICS;
  const { patience, metric = "error", minDelta = 0 } = options;
  expectWhole("fit: earlyStopping.patience", patience);
  expectBetween("fit: earlyStopping.minDelta", minDelta, 0);
  if (options.metric !== undefined && !known.includes(metric)) {
    throw new LocalgradError(
      `fit: earlyStopping.metric must be one of ${known.join(", ")}, not ${shown(metric)}`,
    );
  }
}

/** The state of early stopping after an evaluation. */
export function patienceAfter(
  { metric: asked, minDelta = 0 }: EarlyStopping,
  evaluation: Evaluation,
  before: Patience | undefined,
): Patience {
  const metric = asked ?? (evaluation.meanIoU === undefined ? "error" : "meanIoU");
  const value = evaluation[metric];
  if (value === undefined) {
    throw new LocalgradError(
      `fit: earlyStopping follows ${metric}, which evaluations of few classes do not have`,
    );
  }
  const rising = metric === "meanIoU";
  const since = before?.rising === true === rising ? before : undefined; // of a metric that can be compared
  if (since !== undefined && (rising ? value <= since.best + minDelta : value >= since.best - minDelta)) {
    return { ...since, waited: since.waited + 1 };
  }
  return { best: value, waited: 0, ...(rising ? { rising } : {}) };
}
