import { LocalgradError } from "../../base/errors.ts";
import { type Decoder, list, number, object, oneOf as choice, optional } from "../../base/decode.ts";
import * as local from "../../local.ts";
import { type Flags, type Given, givenAs, oneOf, share } from "./flags.ts";

const losses = ["cross-entropy", "squared-error"] as const;

/** Flags for the loss. */
export const lossFlags = {
  loss: {
    value: losses.join("|"),
    help: "loss of the head and of local classifiers; default cross-entropy",
  },
  "label-smoothing": {
    value: "SHARE",
    help: "cross-entropy: share of the target that is spread over all classes, such as 0.1; default 0",
  },
  "class-weights": {
    value: "W,…",
    help: "cross-entropy: the weight of each class in order, such as 1,1,5; default 1 each",
  },
} as const satisfies Flags;

/** What the flags say about the loss: JSON, in the settings of a run. */
export interface LossSettings {
  readonly name?: typeof losses[number];
  readonly labelSmoothing?: number;
  readonly classWeights?: readonly number[];
}

/** Decodes the settings of a loss in a checkpoint. */
export const lossDecoder: Decoder<LossSettings> = object<LossSettings>({
  name: optional(choice(losses)),
  labelSmoothing: optional(number),
  classWeights: optional(list(number)),
});

/** Reads the settings of the loss from flags. */
export function lossSettingsFrom(given: Given<typeof lossFlags>): LossSettings {
  const { loss, "label-smoothing": smoothing, "class-weights": weights } = given;
  return {
    ...(loss === undefined ? {} : { name: oneOf("loss", loss, losses) }),
    ...(smoothing === undefined ? {} : { labelSmoothing: share("label-smoothing", smoothing) }),
    ...(weights === undefined ? {} : { classWeights: weightsFrom(weights) }),
  };
}

/** The flags that say what the settings say: the inverse of {@link lossSettingsFrom}. */
export function lossGiven({ name, labelSmoothing, classWeights }: LossSettings): Given<typeof lossFlags> {
  return givenAs<typeof lossFlags>({
    loss: name,
    "label-smoothing": labelSmoothing,
    "class-weights": classWeights?.join(),
  });
}

function weightsFrom(text: string): number[] {
  const weights = text.split(",").map((each) => each.trim() === "" ? NaN : Number(each));
  if (weights.every((weight) => weight >= 0 && weight < Infinity)) return weights;
  throw new LocalgradError(`--class-weights must be numbers of at least 0, such as 1,1,5, not "${text}"`);
}

/** Makes the loss of a run. */
export function lossOf({ name = "cross-entropy", ...options }: LossSettings): local.Loss {
  if (name === "cross-entropy") return local.crossEntropyLoss(options);
  const [idle] = Object.keys(options);
  if (idle === undefined) return local.squaredErrorLoss();
  throw new LocalgradError(
    `${idle === "labelSmoothing" ? "--label-smoothing" : "--class-weights"} is for --loss cross-entropy`,
  );
}
