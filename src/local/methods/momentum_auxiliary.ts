import { changedBetweenPasses } from "../../autograd/between_passes.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Kinds } from "../../base/expect.ts";
import { Initial } from "../../nn/initial.ts";
import { type Layer, shapeAfter } from "../../nn/layer.ts";
import { descend, merge, type Named, select } from "../../nn/named.ts";
import { full } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { scope } from "../../trace/trace.ts";
import { treeMap } from "../../trace/tree.ts";
import { type Auxiliary, auxiliaryAt, type Boundary, type Method, type Variables } from "../method.ts";
import { BIAS, EMA } from "../places.ts";

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

/** The blocks in front of the wrapped method's networks, and the function that combines their outputs. */
export interface Fusion {
  /** Includes the average of the next block. */
  readonly ema: boolean;
  /** Includes the learnable block like it. */
  readonly bias: boolean;
  /** Learned weights of the fusion; default none. */
  readonly params?: Named<Initial>;
  /** Combines the outputs of both blocks. */
  fuse(params: Named<Tensor>, bias: Tensor, ema: Tensor): Tensor;
}

/** Returns a method's auxiliary network after MAN's blocks, whose output it takes as features. `who` begins messages. */
export function momentumAuxiliary(
  who: string,
  method: Method,
  boundary: Boundary,
  options: Required<AverageOptions>,
  fusion: Fusion,
): Auxiliary {
  const { next, behind, fused = false } = boundary;
  if (fused) {
    throw new LocalgradError(
      `${who}+${method.name} is wrapped in man or manPlusPlus already; wrap ${method.name} only once`,
    );
  }
  const features = shapeAfter(next.layer, boundary.features);
  const inner = auxiliaryAt(method, { ...boundary, features, behind: behind.slice(1), fused: true });
  return withMomentum(boundary, inner, options, fusion);
}

function withMomentum(
  { next }: Boundary,
  inner: Auxiliary,
  options: Required<AverageOptions>,
  fusion: Fusion,
): Auxiliary {
  const tracked = next.layer;
  const { moves } = options;
  const average = fusion.ema ? averageOf(tracked, next.name, options) : undefined;
  const bias = fusion.bias
    ? { params: { [BIAS]: tracked.params }, state: { [BIAS]: tracked.state } }
    : undefined;
  return {
    params: merge<Initial>(bias?.params ?? {}, fusion.params ?? {}, average?.params ?? {}, inner.params),
    state: merge<Initial>(average?.state ?? {}, bias?.state ?? {}, inner.state),
    loss(params, state, h, batch, next) {
      let after = state;
      const biased = bias && scope(BIAS, () => {
        const { y, state: moved } = tracked.apply(
          descend(params, BIAS),
          descend(state, BIAS),
          h,
          "train",
        );
        after = { ...after, [BIAS]: moved };
        return y;
      });
      const averaged = average && scope(EMA, () => {
        const ema = average.of({ params, state });
        if (moves !== "beforeBackward") return average.apply(ema, h);
        const move = (ema: Named<Tensor>) => average.moved(ema, next);
        const { y, later } = changedBetweenPasses(average.apply, ema, move, h);
        after = average.into({ params, state: after }, later).state;
        return y;
      });
      const u = biased === undefined || averaged === undefined
        ? biased ?? averaged ?? h
        : fusion.fuse(params, biased, averaged);
      const local = inner.loss(select(params, inner.params), select(state, inner.state), u, batch, next);
      return { loss: local.loss, state: { ...after, ...local.state } };
    },
    follow(state, next) {
      const followed = inner.follow === undefined
        ? state
        : { ...state, ...inner.follow(select(state, inner.state), next) };
      if (average === undefined || moves !== "afterBackward") return followed;
      const own = { params: {}, state: followed };
      return average.into(own, average.moved(average.of(own), next)).state;
    },
    afterStep(own, next) {
      const part = { params: select(own.params, inner.params), state: select(own.state, inner.state) };
      const stepped = inner.afterStep?.(part, next) ?? part;
      const after = {
        params: { ...own.params, ...stepped.params },
        state: { ...own.state, ...stepped.state },
      };
      if (average === undefined || moves !== "afterStep") return after;
      return average.into(after, average.moved(average.of(own), next));
    },
  };
}

/** The average of a block: one tree of weights and, if it has them, running statistics, kept under `ema`. */
interface Average extends Variables<Initial> {
  /** Returns the tree from the variables of the auxiliary network. */
  of(own: Variables): Named<Tensor>;
  /** Returns those variables with another tree in its place. */
  into(own: Variables, ema: Named<Tensor>): Variables;
  /** Applies the averaged block to features. */
  apply(ema: Named<Tensor>, h: Tensor): Tensor;
  /** Returns the tree moved one step toward the tracked block. */
  moved(ema: Named<Tensor>, next: Variables): Named<Tensor>;
}

function averageOf(
  tracked: Layer,
  name: string,
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
    params: trained ? { [EMA]: weights } : {},
    state: { [EMA]: trained ? read : merge(weights, read) },
    of({ params, state }) {
      const kept = descend(state, EMA);
      return trained ? merge(descend(params, EMA), kept) : kept;
    },
    into({ params, state }, ema) {
      if (!trained) return { params, state: { ...state, [EMA]: ema } };
      return {
        params: { ...params, [EMA]: select(ema, weights) },
        state: { ...state, [EMA]: select(ema, read) },
      };
    },
    apply(ema, h) {
      const params = select(ema, weights);
      if (statistics === "batch") return tracked.apply(params, unread(), h, "train").y;
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
function copyOf(params: Named<Initial>, path: string): Named<Initial> {
  return Object.fromEntries(
    Object.entries(params).map(([name, value]) => {
      const place = `${path}.${name}`;
      return [name, value instanceof Initial ? value.copying(place) : copyOf(value, place)];
    }),
  );
}
