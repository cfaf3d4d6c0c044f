import { abridged } from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { keysOf } from "../base/keys.ts";
import { type augmentFlags, augmentGiven } from "./flags/augment.ts";
import { cutFlags, cutGiven } from "./cut.ts";
import { givenAs } from "./flags/flags.ts";
import { type lossFlags, lossGiven } from "./flags/loss.ts";
import { type methodFlags, optionsGiven } from "./flags/method.ts";
import { type optimizerFlags, optimizerGiven } from "./flags/optimizer.ts";
import { type rateFlags, ratesGiven } from "./flags/rate.ts";
import type { Settings, settingsFrom, trainingFlags } from "./settings.ts";
import type { placeFlags } from "./flags/place.ts";

/** The flags that define a run, apart from those of the groups below. */
type OwnFlags =
  & Omit<
    typeof trainingFlags,
    keyof (
      & typeof augmentFlags
      & typeof cutFlags
      & typeof methodFlags
      & typeof optimizerFlags
      & typeof lossFlags
      & typeof rateFlags
    )
  >
  & Pick<typeof placeFlags, "data" | "precision">;

/** The flags that say what the settings of a run say: the inverse of `settingsFrom`. */
export function flagsOf(settings: Settings): Parameters<typeof settingsFrom>[0] {
  const { saveEvery, metrics } = settings;
  return {
    ...givenAs<OwnFlags>({
      dataset: settings.dataset,
      "image-size": settings.imageSize,
      model: settings.model,
      method: settings.method,
      batch: settings.batch,
      "batch-norm": settings.batchNorm,
      recompute: settings.recompute,
      "memory-limit": settings.memoryLimit,
      epochs: settings.epochs,
      "eval-every": settings.evalEvery,
      validation: settings.validation,
      metrics: metrics?.length === 0 ? "none" : metrics?.join(),
      "save-every": saveEvery && ("steps" in saveEvery ? saveEvery.steps : `${saveEvery.minutes}m`),
      "schedule-epochs": settings.scheduleEpochs,
      "train-limit": settings.trainLimit,
      "test-limit": settings.testLimit,
      lr: settings.lr,
      seed: settings.seed,
      precision: settings.precision,
      data: settings.data,
    }),
    ...cutGiven(settings.modules),
    ...optionsGiven(settings.methodOptions ?? {}),
    ...optimizerGiven(settings.optimizer ?? {}),
    ...lossGiven(settings.loss ?? {}),
    ...augmentGiven(settings.augment),
    ...ratesGiven(settings.rates ?? {}, settings.earlyStopping),
  };
}

/** Flags that may change when a run is resumed: its length, how often it is evaluated and saved, the data path. */
const CHANGEABLE: readonly string[] = [
  "epochs",
  "eval-every",
  "memory-limit",
  "metrics",
  "save-every",
  "schedule-epochs",
  "patience",
  "patience-metric",
  "min-delta",
  "data",
];

/** What a flag that is left out stands for, where that depends on no other flag. */
const DEFAULTS: { readonly [flag: string]: string } = {
  "average-decay": "0.995",
  fusion: "sum",
  start: "copy",
  average: "frozen",
  statistics: "batch",
  head: "mlp-sr",
  task: "crossEntropy",
  "weight-schedule": "index",
  optimizer: "sgd",
  "sgd-momentum": "0.9",
  decay: "all",
  accumulate: "1",
  "batch-norm": "share",
  loss: "cross-entropy",
  "label-smoothing": "0",
  "lr-schedule": "published",
};

/** The values of flags. */
type Texts = { readonly [flag: string]: string | true };

/** Refuses settings that may not change when a run is resumed. */
export function refuseChange(before: Settings, now: Settings): void {
  const [then, since]: [Texts, Texts] = [flagsOf(before), flagsOf(now)];
  const changed = [...new Set([...keysOf(then), ...keysOf(since)])].find((flag) =>
    !CHANGEABLE.includes(flag) && (then[flag] ?? DEFAULTS[flag]) !== (since[flag] ?? DEFAULTS[flag])
  );
  if (changed === undefined) return;
  throw new LocalgradError(
    `the run was started ${changed in cutFlags ? cuts(then, since) : values(changed, then, since)}; ` +
      "omit the flag to resume the run, or start another",
  );
}

/** The two values of a flag: `with --optimizer adamw, not lion`. */
function values(flag: string, then: Texts, since: Texts): string {
  const [was = DEFAULTS[flag], is = DEFAULTS[flag]] = [then[flag], since[flag]];
  if (was === undefined || is === true) return `without --${flag}`;
  return `with --${flag} ${brief(was)}${then[flag] === undefined ? ", the default" : ""}, not ${brief(is)}`;
}

/** The two cuts, which several flags define: `with --modules 3, not --after layer1.0`. */
function cuts(then: Texts, since: Texts): string {
  const [was, is] = [then, since].map((flags) =>
    keysOf(cutFlags).flatMap((flag) => flags[flag] === undefined ? [] : [`--${flag} ${brief(flags[flag])}`])
      .join(" ")
  );
  return `with ${was}, not ${is}`;
}

function brief(value: string | true | undefined): string {
  return abridged(String(value));
}
