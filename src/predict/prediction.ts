/** A class that a network considers for an image. */
export interface Ranked {
  /** Its name; its number as text if the network's names are not known. */
  readonly name: string;
  /** Its number, from 0. */
  readonly index: number;
  /** Its probability: the softmax of the logits. */
  readonly probability: number;
}

/** What a network says of an image. */
export interface Prediction {
  /** The most probable class. */
  readonly best: Ranked;
  /** The most probable classes, by falling probability; of equal ones the first. */
  readonly top: readonly Ranked[];
  /** The probability of each class: f32 `[classes]`. */
  readonly probabilities: Float32Array;
  /** The output of the network: f32 `[classes]`. */
  readonly logits: Float32Array;
}
