import { LocalgradError } from "../../base/errors.ts";
import { expectWhole, type Kinds, shown } from "../../base/expect.ts";
import { descend, type Named } from "../../nn/named.ts";
import { full } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { type Auxiliary, auxiliaryAt, type Cascade, expectInner, type Method } from "../method.ts";
import { greedy } from "./greedy.ts";

/** Options that {@link hpff} and {@link mlaan} share: those of the cascades. */
export interface CascadeOptions {
  /**
   * The number of neighbouring modules that each local loss trains together; default 2, pairs. 1 trains each module by
   * itself.
   */
  cascade?: number;
  /** The weight of that loss, above 0 and at most 1; the loss of a module alone has the rest. Default 0.999. */
  cascadeWeight?: number;
  /** The method of the loss of a module alone; default `greedy()`: pooling and a linear layer. */
  alone?: Method;
}

/** The kinds of the options of cascades. */
export const CASCADE_KINDS = {
  cascade: "number?",
  cascadeWeight: "number?",
  alone: "object?",
} as const satisfies Kinds<CascadeOptions>;

/** The name under which an auxiliary network keeps that of the loss of a module alone. */
const ALONE = "alone";

/**
 * Returns a method of this name whose local losses, those of another method, train cascades of modules, each next to a loss
 * of the module alone. A boundary that ends no whole cascade has neither. `who` begins messages.
 */
export function cascaded(who: string, method: Method, options: CascadeOptions): Pick<
  Method,
  "auxiliary" | "cascade" | "options"
> {
  const { cascade: modules = 2, cascadeWeight: weight = 0.999, alone = greedy() } = options;
  expectWhole(`${who}: cascade`, modules);
  if (!(weight > 0 && weight <= 1)) {
    throw new LocalgradError(`${who}: cascadeWeight must be above 0 and at most 1, not ${shown(weight)}`);
  }
  for (const each of [method, alone]) expectInner(who, each);
  return {
    cascade: { modules, weight } satisfies Cascade,
    options: {
      ...{ cascade: modules, cascadeWeight: weight },
      ...(weight === 1 ? {} : { alone: { name: alone.name, ...alone.options } }),
    },
    auxiliary(boundary) {
      if (boundary.index + 1 < modules) return NONE;
      const together = auxiliaryAt(method, boundary);
      return weight === 1 ? together : both(who, together, auxiliaryAt(alone, boundary));
    },
  };
}

/** The auxiliary network of a boundary without a loss. */
const NONE: Auxiliary = {
  params: {},
  state: {},
  loss: (_params, state) => ({ loss: full([], 0), state }),
};

/** An auxiliary network with that of a module's own loss. */
function both(who: string, together: Auxiliary, alone: Auxiliary): Auxiliary {
  if (ALONE in together.params || ALONE in together.state) {
    throw new LocalgradError(
      `${who}: the auxiliary network has a part named "${ALONE}", which is taken; rename it`,
    );
  }
  const without = ({ [ALONE]: _, ...rest }: Named<Tensor>): Named<Tensor> => rest;
  const own = (tree: Named<Tensor>) => descend(tree, ALONE);
  return {
    ...together,
    random: together.random === true || alone.random === true,
    params: { ...together.params, [ALONE]: alone.params },
    state: { ...together.state, [ALONE]: alone.state },
    loss(params, state, h, batch, next) {
      const { loss, state: after } = together.loss(without(params), without(state), h, batch, next);
      return { loss, state: { ...after, [ALONE]: own(state) } };
    },
    alone(params, state, h, batch, next) {
      const { loss, state: after } = alone.loss(own(params), own(state), h, batch, next);
      return { loss, state: { ...state, [ALONE]: after } };
    },
    follow(state, next) {
      const followed = together.follow?.(without(state), next) ?? without(state);
      return { ...followed, [ALONE]: alone.follow?.(own(state), next) ?? own(state) };
    },
    afterStep({ params, state }, next) {
      const first = { params: without(params), state: without(state) };
      const second = { params: own(params), state: own(state) };
      const a = together.afterStep?.(first, next) ?? first;
      const b = alone.afterStep?.(second, next) ?? second;
      return { params: { ...a.params, [ALONE]: b.params }, state: { ...a.state, [ALONE]: b.state } };
    },
  };
}
