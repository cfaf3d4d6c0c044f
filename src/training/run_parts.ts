import type { Observer } from "../artifacts/observer.ts";
import type { EarlyStopping } from "./early_stopping.ts";
import type { Evaluator } from "./evaluate.ts";
import type { Team } from "./processes/team.ts";
import type { Position, Stepper, Trainable } from "./trainable.ts";
import type { TrainingFeed } from "./feeds/training_feed.ts";

/** Interval of saving within an epoch. */
export type SaveEvery = { readonly steps: number } | { readonly minutes: number };

/** The parts of a `Run`. */
export interface RunParts {
  readonly trainer: Trainable;
  readonly position: Position;
  readonly team: Team;
  readonly stepper: Stepper;
  /** Undefined if there is nothing to evaluate on. */
  readonly evaluator: Evaluator | undefined;
  readonly observers: readonly Observer[];
  readonly feed: TrainingFeed;
  readonly epochs: number;
  readonly evaluateEvery: number;
  readonly saveEvery?: SaveEvery | undefined;
  readonly earlyStopping?: EarlyStopping | undefined;
  readonly signal?: AbortSignal | undefined;
  /** The name of the data set. */
  readonly dataset: string;
  /** The names of the classes, by label; undefined for a regression. */
  readonly classNames: readonly string[] | undefined;
  /** The number of training images set aside to evaluate on, if any are. */
  readonly validationImages?: number | undefined;
  /** Bytes of the data set on the device. */
  readonly dataBytes: number;
}
