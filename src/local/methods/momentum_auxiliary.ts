import { changedBetweenPasses } from "../../autograd/between_passes.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Kinds } from "../../base/expect.ts";
import type { Initial } from "../../nn/initial.ts";
import { type Layer, shapeAfter } from "../../nn/layer.ts";
import { merge, type Named, select } from "../../nn/named.ts";
import { full } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { scope } from "../../trace/trace.ts";
import { treeFlatten, treeMap, treeUnflatten } from "../../trace/tree.ts";
import type { Auxiliary, Boundary, Method, Variables } from "../method.ts";

/** What {@link man} and {@link manPlusPlus} have in common: an average of the block behind each boundary. */
export interface AverageOptions {
  /** How much of the average is kept at each step, below 1; default 0.995. */
  momentum?: number;
  /** How the average starts: as a copy of the tracked block (default), or as a draw of its own, as in the published code. */
  start?: "copy" | "random";
  /**
   * Whether the average is never trained (default, as in the published code), or takes the local loss's gradient step
   * first and is averaged with the tracked block afterwards, as MAN's paper prints it.
   */
  average?: "frozen" | "trained";
  /**
   * When the average moves toward the tracked block: after the module's backward pass and before its update (default,
   * MAN's code); between forward and backward pass, so that the way back goes through the newer weights, as in MAN++'s
   * code for ImageNet; or after the whole step, toward the updated block, as a trained average must and so does by
   * default.
   */
  moves?: "afterBackward" | "beforeBackward" | "afterStep";
  /**
   * What the average's batch norms go by: the batch (default, as published: only parameters are averaged), or running
   * statistics, which are the average of the tracked block's or a copy of them at each move. With those the average
   * runs as in evaluation.
   */
  statistics?: "batch" | "average" | "copy";
}

/** What the options of an average are; {@link averageOptions} says which choices there are. */
export const AVERAGE_KINDS = {
  momentum: "number?",
  start: "any?",
  average: "any?",
  moves: "any?",
  statistics: "any?",
} as const satisfies Kinds<AverageOptions>;

const choices: { readonly [option in keyof AverageOptions]?: readonly string[] } = {
  start: ["copy", "random"],
  average: ["frozen", "trained"],
  moves: ["afterBackward", "beforeBackward", "afterStep"],
  statistics: ["batch", "average", "copy"],
};

/** The options with their defaults; refuses those that make no sense. */
export function averageOptions(who: string, options: AverageOptions): Required<AverageOptions> {
  const { momentum = 0.995, start = "copy", average = "frozen", statistics = "batch" } = options;
  const { moves = average === "trained" ? "afterStep" : "afterBackward" } = options;
  const all = { momentum, start, average, moves, statistics };
  if (!(momentum >= 0 && momentum < 1)) {
    const why = momentum === 1 ? ", with which the average would never move" : "";
    throw new LocalgradError(`${who}: momentum must be at least 0 and below 1, not ${momentum}${why}`);
  }
  for (const [option, known] of Object.entries(choices)) {
    const value = all[option as keyof typeof all];
    if (known.includes(value as string)) continue;
    const offered = known.map((each) => JSON.stringify(each)).join(" or ");
    throw new LocalgradError(`${who}: there is no ${option} ${JSON.stringify(value)}; choose ${offered}`);
  }
  if (average === "trained" && moves !== "afterStep") {
    throw new LocalgradError(
      `${who}: a trained average moves after its gradient step, so "afterStep" and not ${
        JSON.stringify(moves)
      }; ` +
        `leave moves out or average "frozen"`,
    );
  }
  return all;
}

/** What goes in front of the wrapped method's networks, and how much of each; a parameter where that is learned. */
export interface Fusion {
  /** Whether the average of the block behind is there. */
  readonly ema: boolean;
  /** Whether the learnable block like it is there. */
  readonly bias: boolean;
  /** Learned numbers of the fusion; default none. */
  readonly params?: Named<Initial>;
  /** Puts the blocks' outputs together; one of them may be missing. */
  fuse(params: Named<Tensor>, bias: Tensor | undefined, ema: Tensor | undefined): Tensor;
}

/** The wrapped method's auxiliary, of the features that the blocks in front of it give. */
export function behindMomentum(
  method: Method,
  boundary: Boundary,
  within: NonNullable<Boundary["within"]>,
  options: Required<AverageOptions>,
  fusion: Fusion,
): Auxiliary {
  const { next, behind } = boundary;
  if (boundary.within !== undefined) {
    throw new LocalgradError(
      `${boundary.within}: ${within}+${method.name} has an average in front already; wrap ${method.name}`,
    );
  }
  const features = shapeAfter(next.layer, boundary.features);
  const inner = method.auxiliary!({ ...boundary, features, behind: behind.slice(1), within });
  return wrap(boundary, inner, options, fusion);
}

function wrap(
  { next }: Boundary,
  inner: Auxiliary,
  options: Required<AverageOptions>,
  fusion: Fusion,
): Auxiliary {
  const tracked = next.layer;
  const { moves } = options;
  const average = fusion.ema ? averageOf(tracked, next.name, options) : undefined;
  const bias = fusion.bias ? { params: { bias: tracked.params }, state: { bias: tracked.state } } : undefined;
  return {
    params: merge<Initial>(bias?.params ?? {}, fusion.params ?? {}, average?.params ?? {}, inner.params),
    state: merge<Initial>(average?.state ?? {}, bias?.state ?? {}, inner.state),
    loss(params, state, h, batch, next) {
      let after = state;
      const biased = bias && scope("bias", () => {
        const { y, state: moved } = tracked.apply(
          params["bias"] as Named<Tensor>,
          state["bias"] as Named<Tensor>,
          h,
          "train",
        );
        after = { ...after, bias: moved };
        return y;
      });
      const averaged = average && scope("ema", () => {
        const ema = average.of({ params, state });
        if (moves !== "beforeBackward") return average.apply(ema, h);
        const move = (ema: Named<Tensor>) => average.moved(ema, next);
        const { y, later } = changedBetweenPasses(average.apply, ema, move, h);
        after = average.into({ params, state: after }, later).state;
        return y;
      });
      const u = fusion.fuse(params, biased, averaged);
      const judged = inner.loss(select(params, inner.params), select(state, inner.state), u, batch, next);
      return { loss: judged.loss, state: { ...after, ...judged.state } };
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
      const judged = inner.afterStep?.(part, next) ?? part;
      const after = {
        params: { ...own.params, ...judged.params },
        state: { ...own.state, ...judged.state },
      };
      if (average === undefined || moves !== "afterStep") return after;
      return average.into(after, average.moved(average.of(own), next));
    },
  };
}

/** The average of a block: one tree of weights and, where it has them, running statistics, kept under `ema`. */
interface Average extends Variables<Initial> {
  /** The tree, out of what hangs on the boundary. */
  of(own: Variables): Named<Tensor>;
  /** Another tree in its place. */
  into(own: Variables, ema: Named<Tensor>): Variables;
  /** Its result. */
  apply(ema: Named<Tensor>, h: Tensor): Tensor;
  /** The tree a step closer to the tracked block. */
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
  // Where batch norm goes by the batch, the running statistics it would also move are read by nobody.
  const unread = () => treeMap(({ shape }: Initial) => full(shape, 0), tracked.state) as Named<Tensor>;
  const toward = (ema: Named<Tensor>, goal: Named<Tensor>) =>
    treeMap((a: Tensor, b: Tensor) => a.mul(momentum).add(b.mul(1 - momentum)), ema, goal) as Named<Tensor>;
  const trained = average === "trained";
  return {
    params: trained ? { ema: weights } : {},
    state: { ema: trained ? read : merge(weights, read) },
    of({ params, state }) {
      const kept = state["ema"] as Named<Tensor>;
      return trained ? merge(params["ema"] as Named<Tensor>, kept) : kept;
    },
    into({ params, state }, ema) {
      if (!trained) return { params, state: { ...state, ema } };
      return {
        params: { ...params, ema: select(ema, weights) },
        state: { ...state, ema: select(ema, read) },
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

/** Starting values that are those of the parameters under `path`. */
function copyOf(params: Named<Initial>, path: string): Named<Initial> {
  const { leaves, paths, structure } = treeFlatten<Initial>(params);
  const copies = leaves.map((initial, i) => initial.copying(`${path}.${paths[i]}`));
  return treeUnflatten(structure, copies) as Named<Initial>;
}
