import { at } from "../../base/at.ts";
import { type Decoder, list, number, object, optional, text, whole } from "../../base/decode.ts";
import type { RunDevice } from "../../local.ts";
import type { ParameterSplit } from "../../local/parameters.ts";
import type { EpochLine, MetricsLine } from "../../train.ts";

/** The result of a finished run; errors are fractions. */
export interface Finished {
  /** Test error after the last epoch. */
  readonly finalError: number;
  /** The lowest test error after any epoch, and the number of that epoch, from 1. */
  readonly bestError: number;
  readonly bestEpoch: number;
  /** Top-5 errors of the same epochs, if there are more than ten classes. */
  readonly topFive?: { readonly final: number; readonly best: number };
  /** Training images per second: the median over epochs, without evaluation; absent if it was not measured. */
  readonly imagesPerSecond?: number;
  /** Wall time of all sessions, with evaluation and saving, without work lost to kills; absent if other work ran. */
  readonly seconds?: number;
  /** Training steps; absent in results of earlier versions. */
  readonly steps?: number;
  /** Planned peak of a training step, of the method and end to end, without the data set. */
  readonly plannedPeakBytes: number;
  readonly endToEndPeakBytes: number;
  /** The most device memory in use after any epoch, with the data set. */
  readonly heldBytes: number;
  /** The most device memory in use by all programs, if the driver reports it. */
  readonly driverBytes?: number;
  /** The most memory of the whole process that was resident after any epoch, on the CPU. */
  readonly residentBytes?: number;
  /** Number of gradient-isolated modules. */
  readonly modules: number;
  /** Their names; absent in results of earlier versions. */
  readonly cut?: readonly string[];
  readonly parameters: ParameterSplit;
  /** The devices that computed the run, in order; absent in results of earlier versions. */
  readonly devices?: readonly RunDevice[];
}

/** The result of a run: figures, or the reason why it failed. */
export type RunResult = Finished | { readonly failed: string };

const errorPair = object({ final: number, best: number });

/** Decodes the figures of a finished run. */
export const finished = object<Finished>({
  finalError: number,
  bestError: number,
  bestEpoch: whole(1),
  topFive: optional(errorPair),
  imagesPerSecond: optional(number),
  seconds: optional(number),
  steps: optional(whole()),
  plannedPeakBytes: number,
  endToEndPeakBytes: number,
  heldBytes: number,
  driverBytes: optional(number),
  residentBytes: optional(number),
  modules: whole(1),
  cut: optional(list(text)),
  parameters: object<ParameterSplit>({ backbone: whole(), bias: whole(), ema: whole(), heads: whole() }),
  devices: optional(list(object<RunDevice>({ arithmetic: text, firstStep: whole() }))),
});

const failure = object({ failed: text });

/** Decodes the result of a run. */
export const runResult: Decoder<RunResult> = (value, at) =>
  typeof value === "object" && value !== null && "failed" in value ? failure(value, at) : finished(value, at);

/** Computes the figures of a result that metrics determine; undefined if no epoch was finished. */
export function measured(lines: readonly MetricsLine[]) {
  const epochs = lines.filter((line): line is EpochLine => line.kind === "epoch");
  const last = epochs.at(-1);
  if (last === undefined) return undefined;
  const best = epochs.reduce((a, b) => b.testError < a.testError ? b : a);
  const steps = lines.findLast((line) => line.kind === "step");
  const speeds = epochs.map(({ imagesPerSecond }) => imagesPerSecond).sort((a, b) => a - b);
  const held = epochs.map(({ held }) => held?.bytes ?? 0);
  const driver = epochs.flatMap(({ held }): number | number[] => held?.driver?.usedBytes ?? []);
  const resident = epochs.flatMap(({ held }): number | number[] => held?.residentBytes ?? []);
  const topFive = last.topFiveError === undefined || best.topFiveError === undefined
    ? {}
    : { topFive: { final: last.topFiveError, best: best.topFiveError } };
  return {
    finalError: last.testError,
    ...topFive,
    bestError: best.testError,
    bestEpoch: best.epoch,
    imagesPerSecond: at(speeds, speeds.length >> 1),
    ...(steps?.kind === "step" ? { steps: steps.step } : {}),
    heldBytes: Math.max(...held),
    ...(driver.length === 0 ? {} : { driverBytes: Math.max(...driver) }),
    ...(resident.length === 0 ? {} : { residentBytes: Math.max(...resident) }),
  };
}
