import { LocalgradError } from "../../base/errors.ts";
import { keysOf } from "../../base/keys.ts";
import * as local from "../../local.ts";
import { type Flags, type Given, givenAs, oneOf, positiveNumber, share, wholeNumber } from "./flags.ts";

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
  distance: ["squared", "relative", "symmetric", "cosine"],
  context: ["E", "R1", "R2", "R4", "R1E", "R2E", "R4E"],
} as const;

/** The options that are whole numbers from 1. */
export const counts = ["depth", "ahead", "joint", "cascade", "patches"] as const;

/** The methods that take each flag. */
const TAKERS = {
  "average-decay": ["man", "manPlusPlus", "mlaan"],
  fusion: ["man"],
  start: ["man", "manPlusPlus"],
  average: ["man", "manPlusPlus"],
  moves: ["man", "manPlusPlus"],
  statistics: ["man", "manPlusPlus"],
  head: ["dgl"],
  task: ["infopro"],
  anchors: ["infopro"],
  "weight-schedule": ["infopro"],
  depth: ["augLocal", "mlaan"],
  patches: ["dgl", "infopro"],
  ahead: ["man", "manPlusPlus"],
  joint: ["man", "manPlusPlus", "augLocal"],
  context: ["contSup"],
  cascade: ["hpff", "mlaan"],
  "cascade-weight": ["hpff", "mlaan"],
  "sgr-weight": ["sgr"],
  "sgr-distance": ["sgr"],
} as const;

/** Methods that wrap another one. */
const WRAPPERS = /^(man(PlusPlus)?|sgr|hpff|contSup)$/;

/** Flags for the options of methods; each applies to the methods that have the option. */
export const methodFlags = {
  "average-decay": {
    value: "SHARE",
    help: "man, manPlusPlus, mlaan: share of the tracked block that a step keeps; default 0.995",
  },
  fusion: {
    value: choices.fusion.join("|"),
    help:
      "man: blocks in front of the heads; default sum, of a trained one and of the tracked block, a moving average of the next module's",
  },
  start: {
    value: choices.start.join("|"),
    help: "man, manPlusPlus: initial values of the tracked block; default copy",
  },
  average: {
    value: choices.average.join("|"),
    help: "man, manPlusPlus: does the local loss train the tracked block too? default frozen; " +
      "trained follows MAN's paper",
  },
  moves: {
    value: choices.moves.join("|"),
    help: "man, manPlusPlus: when the tracked block moves; default afterBackward, or afterStep if trained",
  },
  statistics: {
    value: choices.statistics.join("|"),
    help: "man, manPlusPlus: statistics of the tracked block's batch norms; default batch",
  },
  head: { value: choices.head.join("|"), help: "dgl: the auxiliary network; default mlp-sr" },
  task: {
    value: choices.task.join("|"),
    help: "infopro: the loss next to reconstruction; default crossEntropy",
  },
  anchors: {
    value: choices.anchors.join("|"),
    help: "infopro: images that the contrastive loss is the mean of; default all, as published",
  },
  "weight-schedule": {
    value: choices.schedule.join("|"),
    help:
      "infopro: schedule of the loss weights over modules; default index; stage follows MAN's published code",
  },
  depth: {
    value: "N",
    help:
      "augLocal, mlaan: blocks of the first auxiliary network; default a third of all, at most 6; of mlaan 4",
  },
  patches: {
    value: "N",
    help: "dgl, infopro: auxiliary networks take N×N patches of the features, one by one; default 1",
  },
  ahead: {
    value: "N",
    help: "man, manPlusPlus: blocks after each boundary that averages follow, one after another; default 1",
  },
  joint: {
    value: "N",
    help:
      "man, manPlusPlus, augLocal: last blocks that are trained together; default as cut, of augLocal its depth + 1",
  },
  cascade: {
    value: "N",
    help: "hpff, mlaan: neighbouring modules that a local loss trains together; default 2",
  },
  "cascade-weight": {
    value: "SHARE",
    help: "hpff, mlaan: weight of that loss, the rest is that of the module alone; default 0.999",
  },
  context: {
    value: choices.context.join("|"),
    help:
      "contSup: what a module gets beside features, of the image (E) and of inputs before (R1, …); default E",
  },
  "sgr-weight": { value: "X", help: "sgr: weight of the distance between gradients; default 0.01" },
  "sgr-distance": {
    value: choices.distance.join("|"),
    help: "sgr: distance between the two gradients at a boundary; default symmetric",
  },
} as const satisfies Flags;

/** Options of a method that flags can set: JSON. */
export type GivenOptions = Pick<
  local.MethodOptions,
  keyof typeof choices | "momentum" | "weight" | "cascadeWeight" | typeof counts[number]
>;

/** Flags whose name is not that of the option: there, it would read as the optimizer's. */
const FLAGS = {
  momentum: "average-decay",
  schedule: "weight-schedule",
  cascadeWeight: "cascade-weight",
  weight: "sgr-weight",
  distance: "sgr-distance",
} as const;

/** The flag of a method's option. */
export function methodFlagOf(name: keyof GivenOptions): keyof typeof methodFlags {
  return name in FLAGS ? FLAGS[name as keyof typeof FLAGS] : name as Exclude<typeof name, keyof typeof FLAGS>;
}

/** Reads options from flags. */
export function optionsFrom(given: Given<typeof methodFlags>): GivenOptions {
  const { [FLAGS.momentum]: momentum, [FLAGS.weight]: weight, [FLAGS.cascadeWeight]: cascadeWeight } = given;
  const chosen = keysOf(choices).flatMap((name) => {
    const flag = methodFlagOf(name);
    const text = given[flag];
    return text === undefined ? [] : [[name, oneOf<string>(flag, text, choices[name])]];
  });
  const numbers = counts.flatMap((name) => {
    const text = given[name];
    return text === undefined ? [] : [[name, wholeNumber(name, text, 1)]];
  });
  return {
    ...(momentum === undefined ? {} : { momentum: share(FLAGS.momentum, momentum) }),
    ...Object.fromEntries(chosen),
    ...Object.fromEntries(numbers),
    ...(weight === undefined ? {} : { weight: positiveNumber(FLAGS.weight, weight) }),
    ...(cascadeWeight === undefined
      ? {}
      : { cascadeWeight: positiveNumber(FLAGS.cascadeWeight, cascadeWeight) }),
  };
}

/** The flags that say what the options say: the inverse of {@link optionsFrom}. */
export function optionsGiven(
  { momentum, schedule, weight, cascadeWeight, distance, ...chosen }: GivenOptions,
): Given<typeof methodFlags> {
  const {
    fusion,
    start,
    average,
    moves,
    statistics,
    head,
    task,
    anchors,
    depth,
    ahead,
    joint,
    cascade,
    context,
    patches,
  } = chosen;
  return givenAs<typeof methodFlags>({
    ...{
      fusion,
      start,
      average,
      moves,
      statistics,
      head,
      task,
      anchors,
      depth,
      ahead,
      joint,
      cascade,
      context,
      patches,
    },
    [FLAGS.momentum]: momentum,
    [FLAGS.weight]: weight,
    [FLAGS.cascadeWeight]: cascadeWeight,
    [FLAGS.distance]: distance,
    [FLAGS.schedule]: typeof schedule === "function" ? undefined : schedule,
  });
}

/** Does a method take this option? */
export function takes(name: local.MethodName, option: keyof GivenOptions): boolean {
  const takers: readonly string[] = TAKERS[methodFlagOf(option)];
  return name.split("+").some((part) => takers.includes(part));
}

/** Those of some options that a method takes. */
export function optionsOf(name: local.MethodName, options: GivenOptions): GivenOptions {
  return Object.fromEntries(
    keysOf(options).filter((option) => takes(name, option)).map((option) => [option, options[option]]),
  );
}

/**
 * Makes a method by name and options; InfoPro uses the weights published for the data set, if any.
 *
 * @throws {LocalgradError} if a flag is for other methods; the message says for which.
 */
export function methodOf(name: local.MethodName, options: GivenOptions, dataset: string): local.Method {
  for (const option of keysOf(options)) {
    if (takes(name, option)) continue;
    const flag = methodFlagOf(option);
    const those = TAKERS[flag].map((taker) => WRAPPERS.test(taker) ? `${taker}+NAME` : taker);
    throw new LocalgradError(`--${flag} is for --method ${those.join(" or ")}, not for ${name}`);
  }
  const svhn = dataset === "svhn" && name.endsWith("infopro") && options.schedule !== "stage";
  return local.methodNamed(name, { ...options, ...(svhn ? { weights: "svhn" } : {}) });
}
