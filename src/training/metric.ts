import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectOptions, shown } from "../base/expect.ts";
import { type Model, regresses, segments } from "../models/model.ts";
import { formatAval } from "../trace/dtype.ts";
import { oneHot, where } from "../trace/functions.ts";
import { Tensor } from "../trace/tensor.ts";

/** A metric of one's own: its mean over the images is reported. */
export interface Metric {
  /** Its name in results. */
  readonly name: string;
  /**
   * The value of each image, f32 `[batch]`, from logits `[batch, classes]` and labels i32 `[batch]`; of a segmentation
   * from logits `[batch, height, width, classes]` and labels `[batch, height, width]`; of tokens from logits
   * `[batch, length, classes]` and labels `[batch, length]`; of a regression from values and labels, both f32
   * `[batch, outputs]`.
   */
  readonly each: (logits: Tensor, labels: Tensor) => Tensor;
}

/** The metrics that can be asked for beside the error and the loss. */
export const metricNames = ["topFive", "perClass", "confusion"] as const;

/** The name of such a metric. */
export type MetricName = typeof metricNames[number];

/** What a class's images, its pixels in a segmentation, or its tokens were taken for. */
export interface ClassScore {
  /** Its images, or pixels of a segmentation, or tokens. */
  readonly images: number;
  /** The fraction of its images that were recognised; undefined if there are none. */
  readonly recall?: number;
  /** The fraction of the images taken for it that are of it; undefined if there are none. */
  readonly precision?: number;
  /**
   * Of a segmentation, its intersection over union: pixels that are of it and were taken for it, over those that are or
   * were; undefined if there are none.
   */
  readonly iou?: number;
}

/** Options of `Trainer.evaluate`. */
export interface EvaluateOptions {
  /**
   * Metrics beside the error and the loss: `topFive` (of networks of more than five classes; those of more than ten
   * always have it), `perClass`, `confusion`, or one's own. Default none.
   */
  metrics?: readonly (MetricName | Metric)[];
}

/** Refuses metrics that there are not, or that say nothing of so many classes; `who` begins the message. */
export function checkMetrics(
  who: string,
  metrics: EvaluateOptions["metrics"] = [],
  model: Pick<Model, "name" | "classes" | "task">,
): void {
  expectKind(`${who}: metrics`, metrics, "array");
  const names = new Set<string>();
  for (const metric of metrics) {
    const named = typeof metric === "string";
    if (named && !metricNames.includes(metric)) {
      throw new LocalgradError(
        `${who}: there is no metric ${shown(metric)}; choose ${
          metricNames.join(", ")
        }, or give { name, each }`,
      );
    }
    if (!named) expectOptions(`${who}: a metric`, metric, { name: "string", each: "function" });
    if (named && regresses(model)) {
      throw new LocalgradError(
        `${who}: the metric ${metric} counts classes, which the regression ${model.name} has not; give { name, each }`,
      );
    }
    if (metric === "topFive" && segments(model)) {
      throw new LocalgradError(
        `${who}: the metric topFive is of whole images, and ${model.name} labels pixels; choose perClass or confusion`,
      );
    }
    if (metric === "topFive" && model.classes <= 5) {
      throw new LocalgradError(
        `${who}: with ${model.classes} classes every class is among the five most likely`,
      );
    }
    const name = named ? metric : metric.name;
    if (names.has(name)) throw new LocalgradError(`${who}: the metric ${shown(name)} is given twice`);
    names.add(name);
  }
}

/** The values of a metric for a batch; refuses what a user's function returns if it is not that. */
export function valuesOf({ name, each }: Metric, logits: Tensor, labels: Tensor): Tensor {
  const values: unknown = each(logits, labels);
  if (values instanceof Tensor && values.rank === 1 && values.shape[0] === labels.shape[0]) {
    return values.cast("f32");
  }
  throw new LocalgradError(
    `the metric ${name} must return one value for each image, [${labels.shape[0]}], not ${
      values instanceof Tensor ? formatAval(values) : shown(values)
    }`,
  );
}

/**
 * The images of each class (rows) by the class they are taken for (columns): f32 `[classes, classes]`.
 *
 * @param logits `[images, classes]`.
 * @param real Tells which images count, bool `[images]`.
 */
export function confusions(logits: Tensor, labels: Tensor, real: Tensor): Tensor {
  const classes = at(logits.shape, 1);
  const counted = real.and(logits.max(1).isFinite()).reshape(-1, 1); // logits with NaN are for no class
  const truth = where(counted, oneHot(labels, classes), 0);
  return truth.matmul(oneHot(logits.argmax(1), classes), { transposeA: true });
}

/** The score of each class. */
export function scores(confusion: readonly (readonly number[])[]): ClassScore[] {
  return confusion.map((row, label) => {
    const images = row.reduce((a, b) => a + b, 0);
    const taken = confusion.reduce((sum, other) => sum + (other[label] ?? 0), 0);
    const right = row[label] ?? 0;
    return {
      images,
      ...(images === 0 ? {} : { recall: right / images }),
      ...(taken === 0 ? {} : { precision: right / taken }),
    };
  });
}

/** The mean over all classes of their intersection over union; classes that neither occur nor were found do not count. */
export function meanIoU(confusion: readonly (readonly number[])[]): number {
  const each = ious(confusion).filter((iou) => iou !== undefined);
  return each.length === 0 ? 0 : each.reduce((a, b) => a + b) / each.length;
}

/** The intersection over union of each class; undefined where both are empty. */
function ious(confusion: readonly (readonly number[])[]): (number | undefined)[] {
  return scores(confusion).map(({ images }, label) => {
    const taken = confusion.reduce((sum, row) => sum + (row[label] ?? 0), 0);
    const both = confusion[label]?.[label] ?? 0;
    const union = images + taken - both;
    return union === 0 ? undefined : both / union;
  });
}

/** The score of each class of a segmentation. */
export function pixelScores(confusion: readonly (readonly number[])[]): ClassScore[] {
  const each = ious(confusion);
  return scores(confusion).map((score, label) => {
    const iou = each[label];
    return iou === undefined ? score : { ...score, iou };
  });
}
