import { type MetricName, metricNames } from "../../local.ts";
import { type Flag, oneOf } from "./flags.ts";

/** The flag for metrics beside the error and the loss. */
export const metricsFlag = {
  value: "NAME,…",
  help: `also report ${metricNames.join(", ")}, or none; default confusion, up to 20 classes`,
} as const satisfies Flag;

/** Parses `--metrics`: `topFive,perClass`, or `none`. */
export function metricsFrom(text: string): MetricName[] {
  if (text === "none") return [];
  return text.split(",").map((name) => oneOf("metrics", name.trim(), metricNames));
}

/** Up to this many classes a run's evaluations have a confusion matrix by default. */
const FEW = 20;

/** The metrics of a run of this many classes. */
export function metricsOf(
  { metrics }: { readonly metrics?: readonly MetricName[] },
  classes: number,
): readonly MetricName[] {
  return metrics ?? (classes <= FEW ? ["confusion"] : []);
}
