import { LocalgradError } from "../../base/errors.ts";
import type { Kinds } from "../../base/expect.ts";
import type { Block } from "../../models/model.ts";
import { Initial } from "../../nn/initial.ts";
import { descend, merge, type Named, nest, pathWithin, replaced, select } from "../../nn/named.ts";
import { full } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treeMap } from "../../trace/tree.ts";
import type { Variables } from "../method.ts";

/** Options that {@link man} and {@link manPlusPlus} share: those of the average of the block after each boundary. */
export interface AverageOptions {
  /** The fraction of the average that is kept at each step, at least 0 and below 1; default 0.995. */
  momentum?: number;
  /** The start of the average: a copy of the tracked block (default), or a separate draw, as in the published code. */
  start?: "copy" | "random";
  /**
   * `frozen`: the average is not trained (default, as in the published code). `trained`: it takes the local loss's
   * gradient step and is then averaged with the tracked block, as printed in MAN's paper.
   */
  average?: "frozen" | "trained";
  /**
   * The time at which the average moves toward the tracked block: after the module's backward pass and before its update
   * (default, MAN's code); between forward and backward pass, so that the backward pass uses the newer weights (MAN++'s
   * code for ImageNet); or after the whole step, toward the updated block (required for a trained average, and its
   * default).
   */
  moves?: "afterBackward" | "beforeBackward" | "afterStep";
  /**
   * The statistics of the average's batch norms: those of the batch (default, as published: only parameters are
   * averaged), or running statistics, as in evaluation: an average of the tracked block's (`average`), or a copy of them at
   * each move (`copy`).
   */
  statistics?: "batch" | "average" | "copy";
}

/** The kinds of the options of an average; {@link averageOptions} checks the choices. */
export const AVERAGE_KINDS = {
  momentum: "number?",
  start: "any?",
  average: "any?",
  moves: "any?",
  statistics: "any?",
} as const satisfies Kinds<AverageOptions>;

const choices: { readonly [option in Exclude<keyof AverageOptions, "momentum">]: readonly string[] } = {
  start: ["copy", "random"],
  average: ["frozen", "trained"],
  moves: ["afterBackward", "beforeBackward", "afterStep"],
  statistics: ["batch", "average", "copy"],
};

/** Returns the options with their defaults; refuses impossible values and combinations. `who` begins the message. */
export function averageOptions(who: string, options: AverageOptions): Required<AverageOptions> {
  const { momentum = 0.995, start = "copy", average = "frozen", statistics = "batch" } = options;
  const { moves = average === "trained" ? "afterStep" : "afterBackward" } = options;
  if (!(momentum >= 0 && momentum < 1)) {
    const why = momentum === 1 ? ", with which the average would never move" : "";
    throw new LocalgradError(`${who}: momentum must be at least 0 and below 1, not ${momentum}${why}`);
  }
  const chosen = { start, average, moves, statistics };
  for (const option of ["start", "average", "moves", "statistics"] as const) {
    const [value, known] = [chosen[option], choices[option]];
    if (known.includes(value)) continue;
    const offered = known.map((each) => JSON.stringify(each)).join(" or ");
    throw new LocalgradError(`${who}: there is no ${option} ${JSON.stringify(value)}; choose ${offered}`);
  }
  if (average === "trained" && moves !== "afterStep") {
    throw new LocalgradError(
      `${who}: a trained average moves "afterStep", after its gradient step, not ${
        JSON.stringify(moves)
      }; leave ` +
        'moves out or choose average: "frozen"',
    );
  }
  return { momentum, ...chosen };
}

/** The average of a block: one tree of weights and, if it has them, running statistics. */
export interface Average extends Variables<Initial> {
  /** Returns the tree from the variables of the auxiliary network. */
  of(own: Variables): Named<Tensor>;
  /** Returns those variables with another tree in its place. */
  into(own: Variables, ema: Named<Tensor>): Variables;
  /** Applies the averaged block to features; `key` is for its random layers. */
  apply(ema: Named<Tensor>, h: Tensor, key?: Tensor): Tensor;
  /** Returns the tree moved one step toward the tracked block. */
  moved(ema: Named<Tensor>, next: Variables): Named<Tensor>;
}

/** Returns the average of a block, kept at a path among the variables of an auxiliary network. */
export function averageOf(
  { layer: tracked, name }: Block,
  path: string,
  { momentum, start, average, statistics }: Required<AverageOptions>,
): Average {
  const starting = (tree: Named<Initial>) => start === "copy" ? copyOf(tree, name) : tree;
  const weights = starting(tracked.params);
  const read = statistics === "batch" ? {} : starting(tracked.state);
  // With the batch's statistics, nothing reads the running statistics that batch norm updates as well.
  const unread = () => treeMap(({ shape }: Initial) => full(shape, 0), tracked.state);
  const toward = (ema: Named<Tensor>, goal: Named<Tensor>) =>
    treeMap((a: Tensor, b: Tensor) => a.mul(momentum).add(b.mul(1 - momentum)), ema, goal);
  const trained = average === "trained";
  return {
    params: trained ? nest(path, weights) : {},
    state: nest(path, trained ? read : merge(weights, read)),
    of({ params, state }) {
      const kept = descend(state, path);
      return trained ? merge(descend(params, path), kept) : kept;
    },
    into({ params, state }, ema) {
      if (!trained) return { params, state: replaced(state, path, ema) };
      return {
        params: replaced(params, path, select(ema, weights)),
        state: replaced(state, path, select(ema, read)),
      };
    },
    apply(ema, h, key) {
      const params = select(ema, weights);
      if (statistics === "batch") return tracked.apply(params, unread(), h, "train", key).y;
      return tracked.apply(params, select(ema, read), h, "evaluate").y;
    },
    moved(ema, next) {
      const seen = select(next.state, read);
      return merge(
        toward(select(ema, weights), next.params),
        statistics === "average" ? toward(select(ema, read), seen) : seen,
      );
    },
  };
}

/** Returns starting values that copy those of the parameters under `path`. */
export function copyOf(params: Named<Initial>, path: string): Named<Initial> {
  return Object.fromEntries(
    Object.entries(params).map(([name, value]) => {
      const place = pathWithin(path, name);
      return [name, value instanceof Initial ? value.copying(place) : copyOf(value, place)];
    }),
  );
}
