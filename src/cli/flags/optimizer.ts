import { LocalgradError } from "../../base/errors.ts";
import {
  type Decoder,
  list,
  number,
  object,
  oneOf as choice,
  optional,
  text,
  whole,
} from "../../base/decode.ts";
import { keysOf } from "../../base/keys.ts";
import type { WeightAverage } from "../../local.ts";
import * as optim from "../../optim.ts";
import { publishedSgd } from "../../optim/published.ts";
import { type Flags, type Given, givenAs, numberFromZero, oneOf, share, wholeNumber } from "./flags.ts";

/** Makes each optimizer by name; the options left out are the library's, or the published ones for SGD. */
const makers = {
  sgd: ({ momentum, weightDecay }) =>
    optim.sgd({
      ...publishedSgd,
      ...(weightDecay === undefined ? {} : { weightDecay }),
      ...(momentum === undefined ? {} : { momentum, nesterov: momentum > 0 }),
    }),
  adamw: ({ momentum: _, ...options }) => optim.adamw(options),
  lamb: ({ momentum: _, ...options }) => optim.lamb(options),
  lion: ({ momentum: _, ...options }) => optim.lion(options),
  muon: ({ momentum: _, ...options }) => optim.muon(options),
} as const satisfies {
  readonly [name: string]: (
    options: { readonly momentum?: number; readonly weightDecay?: number },
  ) => optim.Optimizer;
};

/** Weight decays by default, for those that decay some parameters only. */
const DECAYS = { sgd: 1e-4, adamw: 0.01, lamb: 0.01, lion: 0, muon: 0.1 } as const;

/** Learning rates by default; SGD's is that of the data set's recipe. */
const RATES = { adamw: 1e-3, lamb: 5e-3, lion: 1e-4, muon: 1e-3 } as const;

/** The name of an optimizer on the command line. */
export type OptimizerName = keyof typeof makers;
/** The names of all optimizers. */
export const optimizerNames = keysOf(makers);

const decays = ["all", "matrices"] as const;

/** Flags for the optimizer and what goes around it. */
export const optimizerFlags = {
  optimizer: {
    value: optimizerNames.join("|"),
    help: "rule that updates the parameters; default sgd with Nesterov momentum, as published. " +
      "muon updates filters and hidden weights, and the rest with adamw",
  },
  "sgd-momentum": { value: "SHARE", help: "sgd: share of the last step that is kept; default 0.9" },
  "weight-decay": {
    value: "RATE",
    help: `weight decay; default ${optimizerNames.map((name) => `${DECAYS[name]} (${name})`).join(", ")}`,
  },
  decay: {
    value: decays.join("|"),
    help: "parameters with weight decay: all, or filters and weights but no norms and biases; default all",
  },
  clip: {
    value: "norm:X|value:X",
    help:
      "clip the gradients of each module to the norm X (X alone is the same), or each element to ±X; default neither",
  },
  freeze: {
    value: "NAME,…",
    help: "do not train parameters whose names begin like this, such as conv1,bn1,layer1",
  },
  "weight-average": {
    value: "DECAY|equal",
    help:
      "evaluate an average of the weights: of all steps so far, or one that keeps DECAY in a step, such as 0.999",
  },
  accumulate: {
    value: "N|auto",
    help:
      "divide each batch into N, one at a time in memory, and sum each module's gradients; auto: as --memory-limit needs; default 1",
  },
} as const satisfies Flags;

/** What the flags say about the optimizer: JSON, in the settings of a run. */
export interface OptimizerSettings {
  readonly name?: OptimizerName;
  readonly momentum?: number;
  readonly weightDecay?: number;
  readonly decay?: "all" | "matrices";
  readonly clip?: optim.ClipOptions;
  readonly freeze?: readonly string[];
  readonly average?: WeightAverage;
  readonly accumulate?: number;
}

/** Decodes the settings of an optimizer in a checkpoint. */
export const optimizerDecoder: Decoder<OptimizerSettings> = object<OptimizerSettings>({
  name: optional(choice(optimizerNames)),
  momentum: optional(number),
  weightDecay: optional(number),
  decay: optional(choice(decays)),
  clip: optional(object<optim.ClipOptions>({ norm: optional(number), value: optional(number) })),
  freeze: optional(list(text)),
  average: optional(
    object<WeightAverage>({ decay: optional(number), from: optional(whole()), every: optional(whole(1)) }),
  ),
  accumulate: optional(whole(1)),
});

/** Reads the settings of the optimizer from flags. */
export function optimizerFrom(given: Given<typeof optimizerFlags>): OptimizerSettings {
  const { optimizer, decay, clip, freeze, accumulate } = given;
  const { "sgd-momentum": momentum, "weight-decay": weightDecay, "weight-average": average } = given;
  return {
    ...(optimizer === undefined ? {} : { name: oneOf("optimizer", optimizer, optimizerNames) }),
    ...(momentum === undefined ? {} : { momentum: share("sgd-momentum", momentum) }),
    ...(weightDecay === undefined ? {} : { weightDecay: numberFromZero("weight-decay", weightDecay) }),
    ...(decay === undefined ? {} : { decay: oneOf("decay", decay, decays) }),
    ...(clip === undefined ? {} : { clip: clipFrom(clip) }),
    ...(freeze === undefined ? {} : { freeze: freeze.split(",").map((name) => name.trim()) }),
    ...(average === undefined ? {} : {
      average: average === "equal" ? {} : { decay: share("weight-average", average) },
    }),
    ...(accumulate === undefined ? {} : { accumulate: wholeNumber("accumulate", accumulate, 1) }),
  };
}

/** The flags that say what the settings say: the inverse of {@link optimizerFrom}. */
export function optimizerGiven(settings: OptimizerSettings): Given<typeof optimizerFlags> {
  const { name, momentum, weightDecay, decay, clip, freeze, average, accumulate } = settings;
  return givenAs<typeof optimizerFlags>({
    optimizer: name,
    "sgd-momentum": momentum,
    "weight-decay": weightDecay,
    decay,
    clip: clip?.value === undefined ? clip?.norm : `value:${clip.value}`,
    freeze: freeze?.join(),
    "weight-average": average === undefined ? undefined : average.decay ?? "equal",
    accumulate,
  });
}

/** Parses `--clip`: `1` (a norm) or `value:0.5`. */
function clipFrom(text: string): optim.ClipOptions {
  const [, kind, limit = ""] = /^(value:|norm:)?([^:]*)$/.exec(text) ?? [];
  if (!(limit.trim() !== "" && Number(limit) > 0 && Number(limit) < Infinity)) {
    throw new LocalgradError(
      `--clip must be a norm, such as norm:1, or a limit of each element, such as value:0.5, not "${text}"`,
    );
  }
  return kind === "value:" ? { value: Number(limit) } : { norm: Number(limit) };
}

/** Makes the optimizer of a run. Parameters that are frozen do not count in the norm that is clipped. */
export function optimizerOf(settings: OptimizerSettings): optim.Optimizer {
  const { name = "sgd", momentum, weightDecay, decay, clip, freeze } = settings;
  if (momentum !== undefined && name !== "sgd") {
    throw new LocalgradError(`--sgd-momentum is for --optimizer sgd, not for ${name}`);
  }
  const make = (weightDecay?: number) =>
    makers[name]({
      ...(momentum === undefined ? {} : { momentum }),
      ...(weightDecay === undefined ? {} : { weightDecay }),
    });
  const rule = decay === "matrices" ? optim.decayed(make, weightDecay ?? DECAYS[name]) : make(weightDecay);
  const clipping = clip === undefined ? rule : optim.clipped(rule, clip);
  return freeze === undefined ? clipping : optim.freeze(clipping, freeze);
}

/** The learning rate by default; undefined for SGD, whose rate the data set's recipe gives. */
export function defaultRate({ name = "sgd" }: OptimizerSettings): number | undefined {
  return name === "sgd" ? undefined : RATES[name];
}
