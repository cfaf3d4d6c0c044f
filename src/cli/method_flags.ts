import { LocalgradError } from "../base/errors.ts";
import * as local from "../local.ts";
import { type Flags, type Given, oneOf, wholeNumber } from "./flags.ts";

/** What the options of methods can be, where they are one of some names. */
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

/** Flags that say how a method is made; each is for the methods that have the option. */
export const methodFlags = {
  momentum: { value: "SHARE", help: "man, manPlusPlus: how much of the average a step keeps; default 0.995" },
  fusion: {
    value: choices.fusion.join("|"),
    help: "man: which blocks go in front of the heads; default sum",
  },
  start: { value: choices.start.join("|"), help: "man, manPlusPlus: how the average starts; default copy" },
  average: {
    value: choices.average.join("|"),
    help: "man, manPlusPlus: whether a gradient step goes before each average; default frozen, " +
      "trained is MAN's as its paper prints it",
  },
  moves: {
    value: choices.moves.join("|"),
    help: "man, manPlusPlus: when the average moves; default afterBackward, of a trained one afterStep",
  },
  statistics: {
    value: choices.statistics.join("|"),
    help: "man, manPlusPlus: what batch norms of the average go by; default batch",
  },
  head: { value: choices.head.join("|"), help: "dgl: the auxiliary network; default mlp-sr" },
  task: {
    value: choices.task.join("|"),
    help: "infopro: the loss beside reconstruction; default crossEntropy",
  },
  anchors: {
    value: choices.anchors.join("|"),
    help: "infopro: which images the contrastive loss averages over; default all, as published",
  },
  schedule: {
    value: choices.schedule.join("|"),
    help: "infopro: how weights change along the network; default index, stage is MAN's published code",
  },
  depth: { value: "N", help: "augLocal: blocks in the first auxiliary network; default a third, at most 6" },
} as const satisfies Flags;

/** Options of a method that flags can give: JSON. */
export type GivenOptions = Pick<local.MethodOptions, keyof typeof methodFlags>;

/** The options that flags give. */
export function optionsFrom(given: Given<typeof methodFlags>): GivenOptions {
  const { momentum, depth } = given;
  const chosen = (Object.keys(choices) as (keyof typeof choices)[]).flatMap((name) => {
    const text = given[name];
    return text === undefined ? [] : [[name, oneOf<string>(name, text, choices[name])]];
  });
  return {
    ...(momentum === undefined ? {} : { momentum: share("momentum", momentum) }),
    ...Object.fromEntries(chosen),
    ...(depth === undefined ? {} : { depth: wholeNumber("depth", depth, 1) }),
  };
}

/** A method by its name and options; InfoPro's weights are those published for the data set, where there are any. */
export function methodOf(name: local.MethodName, options: GivenOptions, dataset: string): local.Method {
  const svhn = dataset === "svhn" && name.endsWith("infopro") && options.schedule !== "stage";
  return local.methodNamed(name, { ...options, ...(svhn ? { weights: "svhn" } : {}) });
}

function share(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value < 1)) {
    throw new LocalgradError(`--${name} must be at least 0 and below 1, not "${text}"`);
  }
  return value;
}
