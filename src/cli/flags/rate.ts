import { LocalgradError } from "../../base/errors.ts";
import { type Decoder, number, object, oneOf as choice, optional } from "../../base/decode.ts";
import type { EarlyStopping } from "../../local.ts";
import * as optim from "../../optim.ts";
import { METRICS } from "../../training/early_stopping.ts";
import { type Flags, type Given, givenAs, numberFromZero, oneOf, wholeNumber } from "./flags.ts";

const schedules = ["published", "cosine", "one-cycle", "restarts", "steps", "constant"] as const;

/** Flags for the learning rate over time, and for stopping early. */
export const rateFlags = {
  "lr-schedule": {
    value: schedules.join("|"),
    help:
      "learning rate over the epochs: published (default) is a cosine with warm-up that changes between epochs; " +
      "cosine, one-cycle and restarts (three cycles) change with every step; steps falls to a tenth at 1/2 and 3/4",
  },
  warmup: {
    value: "N|Ns",
    help: "raise the learning rate linearly over N epochs or N steps (500s); default: that of the schedule",
  },
  patience: { value: "N", help: "stop after N evaluations without an improvement; default never" },
  "patience-metric": {
    value: METRICS.join("|"),
    help: "with --patience: what should fall; default error, of label maps meanIoU, which should rise",
  },
  "min-delta": { value: "X", help: "with --patience: the smallest change that counts; default 0" },
} as const satisfies Flags;

/** What the flags say about the learning rate: JSON, in the settings of a run. */
export interface RateSettings {
  readonly schedule?: typeof schedules[number];
  readonly warmup?: optim.Warmup;
}

const inEpochs = object<{ epochs: number }>({ epochs: number });
const inSteps = object<{ steps: number }>({ steps: number });

/** Decodes the settings of the learning rate in a checkpoint. */
export const ratesDecoder: Decoder<RateSettings> = object<RateSettings>({
  schedule: optional(choice(schedules)),
  warmup: optional<optim.Warmup>((value, at) =>
    typeof value === "object" && value !== null && "steps" in value ? inSteps(value, at) : inEpochs(value, at)
  ),
});

/** Decodes the settings of early stopping in a checkpoint. */
export const stoppingDecoder: Decoder<EarlyStopping> = object<EarlyStopping>({
  patience: number,
  metric: optional(choice(METRICS)),
  minDelta: optional(number),
});

/** Reads the settings of the learning rate from flags. */
export function ratesFrom(given: Given<typeof rateFlags>): RateSettings {
  const { "lr-schedule": schedule, warmup } = given;
  return {
    ...(schedule === undefined ? {} : { schedule: oneOf("lr-schedule", schedule, schedules) }),
    ...(warmup === undefined ? {} : { warmup: warmupFrom(warmup) }),
  };
}

/** Reads the settings of early stopping from flags; absent ones are those before. */
export function stoppingFrom(
  given: Given<typeof rateFlags>,
  before: EarlyStopping | undefined,
): EarlyStopping | undefined {
  const { patience, "patience-metric": metric, "min-delta": minDelta } = given;
  if (patience === undefined && before === undefined) {
    if (metric === undefined && minDelta === undefined) return undefined;
    throw new LocalgradError(`--${metric === undefined ? "min-delta" : "patience-metric"} needs --patience`);
  }
  return {
    ...before,
    patience: patience === undefined ? before?.patience ?? 1 : wholeNumber("patience", patience, 1),
    ...(metric === undefined ? {} : { metric: oneOf("patience-metric", metric, METRICS) }),
    ...(minDelta === undefined ? {} : { minDelta: numberFromZero("min-delta", minDelta) }),
  };
}

/** The flags that say what the settings say: the inverse of {@link ratesFrom} and {@link stoppingFrom}. */
export function ratesGiven(
  { schedule, warmup }: RateSettings,
  stopping: EarlyStopping | undefined,
): Given<typeof rateFlags> {
  return givenAs<typeof rateFlags>({
    "lr-schedule": schedule,
    warmup: warmup === undefined ? undefined : "steps" in warmup ? `${warmup.steps}s` : warmup.epochs,
    patience: stopping?.patience,
    "patience-metric": stopping?.metric,
    "min-delta": stopping?.minDelta,
  });
}

/** Parses `--warmup`: `5` (epochs) or `500s` (steps). */
function warmupFrom(text: string): optim.Warmup {
  const [, count, unit] = /^([0-9]+)(s?)$/.exec(text) ?? [];
  if (count === undefined || !Number.isSafeInteger(Number(count))) {
    throw new LocalgradError(
      `--warmup must be a number of epochs, such as 5, or of steps, such as 500s, not "${text}"`,
    );
  }
  return unit === "s" ? { steps: Number(count) } : { epochs: Number(count) };
}

/** Returns a schedule over `length` epochs other than the published one. */
export function scheduleNamed(
  name: Exclude<typeof schedules[number], "published">,
  lr: number,
  length: number,
): optim.Schedule {
  switch (name) {
    case "cosine":
      return optim.everyStep(optim.cosine({ base: lr, length }));
    case "one-cycle":
      return optim.everyStep(optim.oneCycle({ peak: lr, length }));
    case "restarts": // cycles of 1/7, 2/7 and 4/7
      return optim.everyStep(optim.cosineRestarts({ base: lr, first: length / 7, factor: 2 }));
    case "steps":
      return optim.steps({ base: lr, at: [length / 2, 3 * length / 4] });
    case "constant":
      return optim.constant(lr);
  }
}
