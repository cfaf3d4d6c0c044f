import { changedBetweenPasses } from "../../autograd/between_passes.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Initial } from "../../nn/initial.ts";
import { type Layer, sequential, shapeAfter } from "../../nn/layer.ts";
import { descend, merge, type Named, select } from "../../nn/named.ts";
import { derivedKey } from "../../nn/random_key.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { scope } from "../../trace/trace.ts";
import {
  type Auxiliary,
  auxiliaryAt,
  type Boundary,
  type Following,
  type Method,
  type Variables,
} from "../method.ts";
import { BIAS, EMA } from "../places.ts";
import { keyed } from "../randomness.ts";
import { type Average, averageOf, type AverageOptions } from "./block_average.ts";

/** The blocks in front of the wrapped method's networks, and the function that combines their outputs. */
export interface Fusion {
  /** Includes the averages of the blocks ahead. */
  readonly ema: boolean;
  /** Includes the learnable block like the next; without averages, one like each block ahead. */
  readonly bias: boolean;
  /** Learned weights of the fusion; default none. */
  readonly params?: Named<Initial>;
  /** Combines the outputs of both blocks. */
  fuse(params: Named<Tensor>, bias: Tensor, ema: Tensor): Tensor;
}

/** The options of the averages, with the number of blocks ahead. */
export interface MomentumOptions extends Required<AverageOptions> {
  readonly ahead: number;
}

/** Returns a method's auxiliary network after MAN's blocks, whose output it takes as features. `who` begins messages. */
export function momentumAuxiliary(
  who: string,
  method: Method,
  boundary: Boundary,
  options: MomentumOptions,
  fusion: Fusion,
): Auxiliary {
  const { behind, fused = false } = boundary;
  if (fused) {
    throw new LocalgradError(
      `${who}+${method.name} is wrapped in man or manPlusPlus already; wrap ${method.name} only once`,
    );
  }
  const imitated = behind.slice(0, options.ahead);
  const features = imitated.reduce((shape, { layer }) => shapeAfter(layer, shape), boundary.features);
  const after = { ...boundary, features, behind: behind.slice(imitated.length), fused: true };
  return withMomentum(boundary, auxiliaryAt(method, after), options, fusion);
}

function withMomentum(
  boundary: Boundary,
  inner: Auxiliary,
  options: MomentumOptions,
  fusion: Fusion,
): Auxiliary {
  const { index } = boundary;
  const { moves } = options;
  const tracked = fusion.ema ? trackedFrom(boundary, options) : [];
  const own = tracked.filter(({ keeper }) => keeper === index);
  const [first, ...further] = tracked;
  const learned = fusion.bias ? learnedBlock(boundary, fusion.ema ? 1 : options.ahead) : undefined;
  const bias = learned && { params: { [BIAS]: learned.params }, state: { [BIAS]: learned.state } };
  const moved = (own: readonly Tracked[], variables: Variables, next: Following) =>
    own.reduce(
      (after, { average, blockIn }) =>
        average.into(after, average.moved(average.of(variables), blockIn(next))),
      variables,
    );
  return {
    reach: Math.max(1, tracked.length, inner.reach ?? 1),
    random: inner.random === true,
    params: merge<Initial>(
      bias?.params ?? {},
      fusion.params ?? {},
      ...own.map(({ average }) => average.params),
      inner.params,
    ),
    state: merge<Initial>(
      ...own.map(({ average }) => average.state),
      bias?.state ?? {},
      inner.state,
    ),
    loss(params, state, h, batch, next) {
      let after = state;
      const biased = learned && scope(BIAS, () => {
        const { y, state: moved } = learned.apply(
          descend(params, BIAS),
          descend(state, BIAS),
          h,
          "train",
          derivedKey(batch.key, 0),
        );
        after = { ...after, [BIAS]: moved };
        return y;
      });
      const averaged = first && scope(EMA, () => {
        const { average, blockIn } = first;
        const ema = average.of({ params, state });
        const key = derivedKey(batch.key, 1);
        if (moves !== "beforeBackward") return average.apply(ema, h, key);
        const move = (ema: Named<Tensor>) => average.moved(ema, blockIn(next));
        const { y, later } = changedBetweenPasses((ema, h) => average.apply(ema, h, key), ema, move, h);
        after = average.into({ params, state: after }, later).state;
        return y;
      });
      const fused = biased === undefined || averaged === undefined
        ? biased ?? averaged ?? h
        : fusion.fuse(params, biased, averaged);
      const u = further.reduce((u, { average, keeper }, i) => {
        const kept = keeper === index ? { params, state } : beyond(next).auxiliary(keeper);
        return scope(EMA, () => average.apply(average.of(kept), u, derivedKey(batch.key, 3 + i)));
      }, fused);
      const local = inner.loss(
        select(params, inner.params),
        select(state, inner.state),
        u,
        keyed(batch, 2),
        next,
      );
      return { loss: local.loss, state: { ...after, ...local.state } };
    },
    follow(state, next) {
      const followed = inner.follow === undefined
        ? state
        : { ...state, ...inner.follow(select(state, inner.state), next) };
      return moves === "afterBackward" ? moved(own, { params: {}, state: followed }, next).state : followed;
    },
    afterStep(variables, next) {
      const part = {
        params: select(variables.params, inner.params),
        state: select(variables.state, inner.state),
      };
      const stepped = inner.afterStep?.(part, next) ?? part;
      const after = {
        params: { ...variables.params, ...stepped.params },
        state: { ...variables.state, ...stepped.state },
      };
      return moves === "afterStep" ? moved(own, after, next) : after;
    },
  };
}

/** The average of a block ahead. */
interface Tracked {
  readonly average: Average;
  /** The boundary that keeps and moves it, for itself and those before. */
  readonly keeper: number;
  /** Finds the block's variables from the keeper. */
  blockIn(next: Following): Variables;
}

/**
 * Returns the averages that a boundary applies, in order. The last boundary before a block keeps its average, since every
 * earlier one that looks as far has used it by then.
 */
function trackedFrom({ index, behind, following = [] }: Boundary, options: MomentumOptions): Tracked[] {
  const { ahead } = options;
  let keeper = index, place = 0;
  return behind.slice(0, ahead).map((block) => {
    if (place === following[keeper - index]) [keeper, place] = [keeper + 1, 0];
    const isNext = place === 0;
    const path = ahead === 1 ? EMA : `${EMA}.${place++}`;
    return {
      average: averageOf(block, path, options),
      keeper,
      blockIn: (next) => isNext ? next : beyond(next).block(block.name),
    };
  });
}

function beyond({ beyond }: Following): NonNullable<Following["beyond"]> {
  if (beyond === undefined) throw new Error("blocks beyond the next are another process's");
  return beyond;
}

/** Returns a trained block like the next, or a row of them, one like each of the blocks ahead. */
function learnedBlock({ next, behind }: Boundary, ahead: number): Layer {
  if (ahead === 1) return next.layer;
  return sequential(Object.fromEntries(behind.slice(0, ahead).map(({ layer }, i) => [i, layer])));
}
