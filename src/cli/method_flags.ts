import { LocalgradError } from "../base/errors.ts";
import { keysOf } from "../base/keys.ts";
import * as local from "../local.ts";
import { type Flags, type Given, oneOf, share, wholeNumber } from "./flags.ts";

/** The choices of methods' options that are names. */
export const choices = {
  fusion: ["sum", "emaOnly", "biasOnly"],
  start: ["copy", "random"],
  average: ["frozen", "trained"],
  moves: ["afterBackward", "beforeBackward", "afterStep"],
  statistics: ["batch", "average", "copy"],
  head: ["mlp-sr", "mlp-sr-large", "mlp", "cnn"],
  task: ["crossEntropy", "contrastive"],
  anchors: ["all", "paired"],
  schedule: ["index", "stage"],
} as const;

/** Flags for the options of methods; each applies to the methods that have the option. */
export const methodFlags = {
  "average-decay": {
    value: "SHARE",
    help: "man, manPlusPlus: share of the average that a step keeps; default 0.995",
  },
  fusion: {
    value: choices.fusion.join("|"),
    help: "man: blocks in front of the heads; default sum",
  },
  start: {
    value: choices.start.join("|"),
    help: "man, manPlusPlus: initial values of the average; default copy",
  },
  average: {
    value: choices.average.join("|"),
    help: "man, manPlusPlus: take a gradient step before each average? default frozen; " +
      "trained follows MAN's paper",
  },
  moves: {
    value: choices.moves.join("|"),
    help: "man, manPlusPlus: when the average is updated; default afterBackward, or afterStep if trained",
  },
  statistics: {
    value: choices.statistics.join("|"),
    help: "man, manPlusPlus: statistics of the average's batch norms; default batch",
  },
  head: { value: choices.head.join("|"), help: "dgl: the auxiliary network; default mlp-sr" },
  task: {
    value: choices.task.join("|"),
    help: "infopro: the loss next to reconstruction; default crossEntropy",
  },
  anchors: {
    value: choices.anchors.join("|"),
    help: "infopro: images that the contrastive loss averages over; default all, as published",
  },
  "weight-schedule": {
    value: choices.schedule.join("|"),
    help:
      "infopro: schedule of the loss weights over modules; default index; stage follows MAN's published code",
  },
  depth: {
    value: "N",
    help: "augLocal: blocks of the first auxiliary network; default a third of all, at most 6",
  },
} as const satisfies Flags;

/** Options of a method that flags can set: JSON. */
export type GivenOptions = Pick<local.MethodOptions, keyof typeof choices | "momentum" | "depth">;

/** Flags whose name is not that of the option: there, it would read as the optimizer's. */
const FLAGS = { momentum: "average-decay", schedule: "weight-schedule" } as const;

/** Reads options from flags. */
export function optionsFrom(given: Given<typeof methodFlags>): GivenOptions {
  const { [FLAGS.momentum]: momentum, depth } = given;
  const chosen = keysOf(choices).flatMap((name) => {
    const flag = name === "schedule" ? FLAGS.schedule : name;
    const text = given[flag];
    return text === undefined ? [] : [[name, oneOf<string>(flag, text, choices[name])]];
  });
  return {
    ...(momentum === undefined ? {} : { momentum: share(FLAGS.momentum, momentum) }),
    ...Object.fromEntries(chosen),
    ...(depth === undefined ? {} : { depth: wholeNumber("depth", depth, 1) }),
  };
}

/** Makes a method by name and options; InfoPro uses the weights published for the data set, if any. */
export function methodOf(name: local.MethodName, options: GivenOptions, dataset: string): local.Method {
  const svhn = dataset === "svhn" && name.endsWith("infopro") && options.schedule !== "stage";
  try {
    return local.methodNamed(name, { ...options, ...(svhn ? { weights: "svhn" } : {}) });
  } catch (error) {
    if (!(error instanceof LocalgradError)) throw error;
    throw new LocalgradError(inFlags(error.message));
  }
}

/** A message about the options of a method, with the names of the flags. */
function inFlags(message: string): string {
  return /has no option/.test(message)
    ? message.replace(/\b(momentum|schedule)\b/g, (name) => FLAGS[name as keyof typeof FLAGS])
    : message;
}
