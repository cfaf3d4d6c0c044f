import { LocalgradError } from "../errors.ts";
import type { Initial } from "../nn/initial.ts";
import { shapeAfter } from "../nn/layer.ts";
import { merge, type Named, select } from "../nn/named.ts";
import { full } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import { scope } from "../trace/trace.ts";
import { treeFlatten, treeMap, treeUnflatten } from "../trace/tree.ts";
import type { Auxiliary, Boundary, Method } from "./method.ts";

/** Options of {@link man}. */
export interface ManOptions {
  /** How much of the average is kept at each step, below 1; default 0.995. */
  momentum?: number;
  /** What is put in front of the inner method's networks: both blocks, summed (default), or one of them. */
  fusion?: "sum" | "emaOnly" | "biasOnly";
  /** How the average starts: as a copy of the tracked block (default), or as a draw of its own, as in the published code. */
  start?: "copy" | "random";
}

/**
 * Momentum Auxiliary Network (Su et al., ECCV 2024, arXiv 2407.05623) around a method that judges features, such as
 * `dgl()` or `infopro()`. In front of that method's networks go two blocks like the one behind the boundary: its
 * exponential moving average, which is never trained but lets the gradient through, and a learnable bias, which is
 * trained; their outputs are summed. The average moves after the module's backward pass and before its update, toward
 * the tracked block's parameters as they were when the step began.
 *
 * @example
 * ```ts
 * import { local } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * // The ablation of the paper: the average alone, started as a draw of its own.
 * const method = local.man(local.dgl(), { fusion: "emaOnly", start: "random" });
 * assertEquals(method.name, "man+dgl");
 * ```
 */
export function man(method: Method, options: ManOptions = {}): Method {
  const { momentum = 0.995, fusion = "sum", start = "copy" } = options;
  const inner = method.auxiliary;
  if (inner === undefined) {
    throw new LocalgradError(
      `man: ${method.name} has no local loss to put it in front of; wrap dgl() or infopro()`,
    );
  }
  if (!(momentum >= 0 && momentum < 1)) {
    const why = momentum === 1 ? ", with which the average would never move" : "";
    throw new LocalgradError(`man: momentum must be at least 0 and below 1, not ${momentum}${why}`);
  }
  if (!["sum", "emaOnly", "biasOnly"].includes(fusion)) {
    throw new LocalgradError(
      `man: there is no fusion ${JSON.stringify(fusion)}; choose "sum", "emaOnly" or "biasOnly"`,
    );
  }
  if (start !== "copy" && start !== "random") {
    throw new LocalgradError(`man: there is no start ${JSON.stringify(start)}; choose "copy" or "random"`);
  }
  return {
    name: `man+${method.name}`,
    options: { momentum, fusion, start, inner: { name: method.name, ...method.options } },
    auxiliary(boundary) {
      const features = shapeAfter(boundary.next.layer, boundary.features);
      return wrap(boundary, inner({ ...boundary, features, within: "man" }), { momentum, fusion, start });
    },
  };
}

function wrap(
  { next }: Boundary,
  inner: Auxiliary,
  { momentum, fusion, start }: Required<ManOptions>,
): Auxiliary {
  const tracked = next.layer;
  const bias = fusion === "emaOnly" ? {} : { bias: tracked.params };
  const biasState = fusion === "emaOnly" ? {} : { bias: tracked.state };
  const ema = fusion === "biasOnly"
    ? {}
    : { ema: start === "copy" ? copyOf(tracked.params, next.name) : tracked.params };
  return {
    params: merge(bias, inner.params),
    state: merge<Initial>(ema, biasState, inner.state),
    loss(params, state, h, batch) {
      const outputs: Tensor[] = [];
      let after: Named<Tensor> = state;
      if ("bias" in bias) {
        const { y, state: seen } = scope(
          "bias",
          () => tracked.apply(params.bias as Named<Tensor>, state.bias as Named<Tensor>, h, "train"),
        );
        outputs.push(y);
        after = { ...after, bias: seen };
      }
      if ("ema" in ema) {
        // Batch norm goes by the batch here; the running statistics it would also move are read by nobody.
        const unread = treeMap(({ shape }: Initial) => full(shape, 0), tracked.state) as Named<Tensor>;
        outputs.push(scope("ema", () => tracked.apply(state.ema as Named<Tensor>, unread, h, "train")).y);
      }
      const u = outputs.reduce((sum, y) => sum.add(y));
      const judged = inner.loss(
        select(params, inner.params),
        select(state, inner.state),
        u,
        batch,
      );
      return { loss: judged.loss, state: { ...after, ...judged.state } };
    },
    follow(state, params) {
      const followed = inner.follow === undefined
        ? state
        : { ...state, ...inner.follow(select(state, inner.state), params) };
      if (!("ema" in ema)) return followed;
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
