import { LocalgradError } from "../errors.ts";
import type { Initial } from "../nn/initial.ts";
import { shapeAfter } from "../nn/layer.ts";
import { merge, type Named, select } from "../nn/named.ts";
import { full } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import { treeFlatten, treeMap, treeUnflatten } from "../trace/tree.ts";
import type { Auxiliary, Boundary, Method } from "./method.ts";

/** What {@link man} and {@link manPlusPlus} have in common: an average of the block behind each boundary. */
export interface AverageOptions {
  /** How much of the average is kept at each step, below 1; default 0.995. */
  momentum?: number;
  /** How the average starts: as a copy of the tracked block (default), or as a draw of its own, as in the published code. */
  start?: "copy" | "random";
}

/** The options with their defaults; refuses those that make no sense. */
export function averageOptions(
  who: string,
  { momentum = 0.995, start = "copy" }: AverageOptions,
): Required<AverageOptions> {
  if (!(momentum >= 0 && momentum < 1)) {
    const why = momentum === 1 ? ", with which the average would never move" : "";
    throw new LocalgradError(`${who}: momentum must be at least 0 and below 1, not ${momentum}${why}`);
  }
  if (start !== "copy" && start !== "random") {
    throw new LocalgradError(
      `${who}: there is no start ${JSON.stringify(start)}; choose "copy" or "random"`,
    );
  }
  return { momentum, start };
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
  { momentum, start }: Required<AverageOptions>,
  fusion: Fusion,
): Auxiliary {
  const tracked = next.layer;
  const learned = { ...(fusion.bias ? { bias: tracked.params } : {}), ...fusion.params };
  const average: Named<Initial> = start === "copy" ? copyOf(tracked.params, next.name) : tracked.params;
  return {
    params: merge(learned, inner.params),
    state: merge<Initial>(
      fusion.ema ? { ema: average } : {},
      fusion.bias ? { bias: tracked.state } : {},
      inner.state,
    ),
    loss(params, state, h, batch) {
      const run = (name: "bias" | "ema", params: Named<Tensor>, state: Named<Tensor>) =>
        scope(name, () => tracked.apply(params, state, h, "train"));
      const bias = fusion.bias
        ? run("bias", params.bias as Named<Tensor>, state.bias as Named<Tensor>)
        : undefined;
      // Batch norm goes by the batch here; the running statistics it would also move are read by nobody.
      const unread = () => treeMap(({ shape }: Initial) => full(shape, 0), tracked.state) as Named<Tensor>;
      const ema = fusion.ema ? run("ema", state.ema as Named<Tensor>, unread()) : undefined;
      const u = fusion.fuse(params, bias?.y, ema?.y);
      const judged = inner.loss(select(params, inner.params), select(state, inner.state), u, batch);
      const after = bias === undefined ? state : { ...state, bias: bias.state };
      return { loss: judged.loss, state: { ...after, ...judged.state } };
    },
    follow(state, params) {
      const followed = inner.follow === undefined
        ? state
        : { ...state, ...inner.follow(select(state, inner.state), params) };
      if (!fusion.ema) return followed;
      const moved = treeMap(
        (average: Tensor, value: Tensor) => average.mul(momentum).add(value.mul(1 - momentum)),
        state.ema as Named<Tensor>,
        params,
      );
      return { ...followed, ema: moved as Named<Tensor> };
    },
  };
}

/** Starting values that are those of the parameters under `path`. */
function copyOf(params: Named<Initial>, path: string): Named<Initial> {
  const { leaves, paths, structure } = treeFlatten<Initial>(params);
  const copies = leaves.map((initial, i) => initial.copying(`${path}.${paths[i]}`));
  return treeUnflatten(structure, copies) as Named<Initial>;
}
