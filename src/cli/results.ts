import { type Decoder, number, object, optional, text, whole } from "../base/decode.ts";
import type { ParameterSplit } from "../local/parameters.ts";
import type { EpochLine, MetricsLine } from "../train.ts";

/** What a finished run of a row gave; errors are fractions. */
export interface Finished {
  /** Test error after the last epoch. */
  readonly finalError: number;
  /** The lowest test error after any epoch, and which epoch that was, from 1. */
  readonly bestError: number;
  readonly bestEpoch: number;
  /** Top-5 errors of the same epochs, where there are more than ten classes. */
  readonly topFive?: { readonly final: number; readonly best: number };
  /** Training images per second: the median over the epochs, evaluation apart. */
  readonly imagesPerSecond: number;
  /** Wall time of all its parts, evaluation and saving included; what was lost when it was killed is not. */
  readonly seconds: number;
  /** Planned peak of a training step, by the method and end to end; the data set counts apart. */
  readonly plannedPeakBytes: number;
  readonly endToEndPeakBytes: number;
  /** The most that the device held after any epoch, data set included. */
  readonly heldBytes: number;
  /** The most that its driver counted in use, on devices whose driver counts. */
  readonly driverBytes?: number;
  /** Gradient-isolated modules. */
  readonly modules: number;
  readonly parameters: ParameterSplit;
}

/** What a run came to: a result, or why it failed. */
export type RunResult = Finished | { readonly failed: string };

const errorPair = object({ final: number, best: number });

const finished = object<Finished>({
  finalError: number,
  bestError: number,
  bestEpoch: whole(1),
  topFive: optional(errorPair),
  imagesPerSecond: number,
  seconds: number,
  plannedPeakBytes: number,
  endToEndPeakBytes: number,
  heldBytes: number,
  driverBytes: optional(number),
  modules: whole(1),
  parameters: object<ParameterSplit>({ backbone: whole(), bias: whole(), ema: whole(), heads: whole() }),
});

const failure = object({ failed: text });

/** A run's result from its file. */
export const runResult: Decoder<RunResult> = (value, at) =>
  typeof value === "object" && value !== null && "failed" in value ? failure(value, at) : finished(value, at);

/** The part of a result that a run's metrics give; undefined where no epoch was finished. */
export function measured(lines: readonly MetricsLine[]) {
  const epochs = lines.filter((line): line is EpochLine => line.kind === "epoch");
  if (epochs.length === 0) return undefined;
  const best = epochs.reduce((a, b) => b.testError < a.testError ? b : a);
  const speeds = epochs.map(({ imagesPerSecond }) => imagesPerSecond).sort((a, b) => a - b);
  const held = epochs.map(({ held }) => held?.bytes ?? 0);
  const driver = epochs.flatMap(({ held }) => held?.driver?.usedBytes ?? []);
  const last = epochs[epochs.length - 1];
  const topFive = last.topFiveError === undefined || best.topFiveError === undefined
    ? {}
    : { topFive: { final: last.topFiveError, best: best.topFiveError } };
  return {
    finalError: last.testError,
    ...topFive,
    bestError: best.testError,
    bestEpoch: best.epoch,
    imagesPerSecond: speeds[speeds.length >> 1],
    heldBytes: Math.max(...held),
    ...(driver.length === 0 ? {} : { driverBytes: Math.max(...driver) }),
  };
}
