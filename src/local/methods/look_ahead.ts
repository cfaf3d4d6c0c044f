import { LocalgradError } from "../../base/errors.ts";
import { expectWhole, type Kinds } from "../../base/expect.ts";
import type { Model } from "../../models/model.ts";
import { jointly, type Partition } from "../partition/partition.ts";
import type { AverageOptions } from "./block_average.ts";

/** Options of {@link man} and {@link manPlusPlus} that look further ahead than the next block; experiments of this library. */
export interface LookAheadOptions {
  /**
   * The number n of blocks after each boundary that averages follow, applied one after another; default 1, the next block
   * alone, as published. The learnable bias stays beside the first. A boundary that fewer blocks follow has as many. The
   * boundaries that follow the same block share one average of it, which moves once a step.
   */
  ahead?: number;
  /** The number of last blocks that are trained together, by the network's own head; default: as the network is cut. */
  joint?: number;
}

/** The kinds of these options. */
export const LOOK_AHEAD_KINDS = { ahead: "number?", joint: "number?" } as const satisfies Kinds<
  LookAheadOptions
>;

/** Checked {@link LookAheadOptions}. */
export interface LookAhead {
  readonly ahead: number;
  /** Those that differ from the default, for the method's record. */
  readonly named: LookAheadOptions;
  /** Joins the last blocks of a cut. */
  recut(model: Model, cut: Partition): Partition;
}

/** Checks the options beside those of the average; `who` begins the message. */
export function lookAheadOptions(
  who: string,
  { ahead = 1, joint = 1 }: LookAheadOptions,
  { average, moves }: Required<AverageOptions>,
): LookAhead {
  expectWhole(`${who}: ahead`, ahead);
  expectWhole(`${who}: joint`, joint);
  const alone = average === "trained"
    ? ['average: "trained"', 'average: "frozen"']
    : moves === "beforeBackward"
    ? ['moves: "beforeBackward"', 'moves: "afterBackward"']
    : undefined;
  if (ahead > 1 && alone !== undefined) {
    const [given, instead] = alone;
    throw new LocalgradError(
      `${who}: with ahead ${ahead} boundaries share averages, which ${given} would change at each of them; choose ` +
        `${instead} or leave ahead out`,
    );
  }
  return {
    ahead,
    named: { ...(ahead === 1 ? {} : { ahead }), ...(joint === 1 ? {} : { joint }) },
    recut: (model, cut) =>
      joint === 1 ? cut : jointly(model, cut, joint, { who: `${who}:`, option: "joint" }),
  };
}
