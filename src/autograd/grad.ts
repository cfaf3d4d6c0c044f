import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectOptions } from "../base/expect.ts";
import { formatAval } from "../trace/dtype.ts";
import { isCollective } from "../trace/ops.ts";
import { constantLike, Tensor } from "../trace/tensor.ts";
import { type TensorTree, tensorTree } from "../trace/tensor_tree.ts";
import { currentTrace, type Trace } from "../trace/trace.ts";
import { pullback } from "./pullback.ts";

/**
 * Returns a function that computes both `f` and its gradient with respect to the first argument, which may be a tree.
 *
 * @param f Returns a scalar f32, or with `aux` a pair of a scalar f32 and anything else, which is passed through without
 * a gradient.
 * @returns A function of the arguments of `f` that returns the value of `f` and the gradient, a tree like the first
 * argument. It throws a {@link LocalgradError} outside of a traced function, or if `f` returns anything else.
 *
 * @example
 * ```ts
 * import { devices, jit, type Tensor, valueAndGrad } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * const step = jit((w: Tensor) => valueAndGrad((w: Tensor) => w.mul(w).sum())(w), { device });
 * using w = device.array([1, 2, 3]);
 * const [loss, gradient] = step(w);
 * assertEquals([...await loss.read()], [14]);
 * assertEquals([...await gradient.read()], [2, 4, 6]);
 * loss.dispose();
 * gradient.dispose();
 * ```
 */
export function valueAndGrad<P, A extends unknown[], X>(
  f: (params: P, ...rest: A) => readonly [Tensor, X],
  options: { aux: true },
): (params: P, ...rest: A) => [[Tensor, X], P];
/** Without auxiliary results. */
export function valueAndGrad<P, A extends unknown[]>(
  f: (params: P, ...rest: A) => Tensor,
): (params: P, ...rest: A) => [Tensor, P];
export function valueAndGrad<P, A extends unknown[], X>(
  f: (params: P, ...rest: A) => Tensor | readonly [Tensor, X],
  options: { aux?: boolean } = {},
): (params: P, ...rest: A) => [Tensor | readonly [Tensor, X], P] {
  expectKind("valueAndGrad: the function", f, "function");
  expectOptions("valueAndGrad", options, { aux: "boolean?" });
  return (params, ...rest) => {
    const trace = currentTrace("valueAndGrad");
    const { leaves, rebuild } = renamed("valueAndGrad", params);
    const start = trace.builder.instructions.length;
    const result = f(rebuild(leaves), ...rest);
    const value: unknown = options.aux === true && Array.isArray(result) ? result[0] : result;
    if (!(value instanceof Tensor) || value.shape.length !== 0 || value.dtype !== "f32") {
      const got = value instanceof Tensor ? formatAval(value) : typeof value;
      throw new LocalgradError(
        `valueAndGrad: the function must return a scalar f32, not ${got}; sum or average it, ` +
          `and pass { aux: true } if it returns [loss, others]`,
      );
    }
    const cotangents = pullback(trace, start, [value], [constantLike(1, value)], leaves);
    return [result, rebuild(leaves.map((leaf, i) => cotangents[i] ?? constantLike(0, leaf)))];
  };
}

/**
 * Returns a function that computes the gradient of `f` with respect to the first argument, which may be a tree; see
 * {@link valueAndGrad}.
 *
 * @param f Returns a scalar f32.
 */
export function grad<P, A extends unknown[]>(
  f: (params: P, ...rest: A) => Tensor,
): (params: P, ...rest: A) => P {
  const both = valueAndGrad(f);
  return (params, ...rest) => both(params, ...rest)[1];
}

/**
 * Computes `f(...primals)` and its vector-Jacobian product.
 *
 * @param primals Tensors or trees of tensors.
 * @returns The result of `f`, and the function that maps cotangents of that result (of the same structure) to cotangents
 * of the primals.
 * @throws {LocalgradError} outside of a traced function.
 */
export function vjp<A extends readonly unknown[], R>(
  f: (...primals: A) => R,
  ...primals: A
): [R, (cotangents: R) => A] {
  const trace = currentTrace("vjp");
  const { leaves, rebuild } = renamed("vjp", primals);
  const start = trace.builder.instructions.length;
  const result = f(...rebuild(leaves));
  const outputs = tensorTree("vjp: the result", result).leaves;
  const end = trace.builder.instructions.length;
  return [result, (cotangents) => {
    if (trace.builder.instructions.length < end) {
      throw new LocalgradError("vjp: used outside of its traced function");
    }
    const given = tensorTree("vjp: the cotangents", cotangents).leaves;
    if (given.length !== outputs.length) {
      throw new LocalgradError(
        `vjp: ${given.length} cotangents for ${outputs.length} results; give one for each`,
      );
    }
    const results = pullback(trace, start, outputs, given, leaves);
    return rebuild(leaves.map((leaf, i) => results[i] ?? constantLike(0, leaf)));
  }];
}

/** A tree with its tensors renamed: only values computed from the new names count as dependent on it. */
function renamed<P>(who: string, tree: P): TensorTree<P> {
  const { leaves, rebuild } = tensorTree(who, tree);
  // A reshape to the same shape costs nothing once compiled, and its gradient is the identity.
  return { leaves: leaves.map((leaf) => leaf.trace.emit("reshape", [leaf], { shape: leaf.shape })), rebuild };
}

/**
 * Records `body(...inputs)` with its own gradient rule, which computes the same gradient with less work or memory.
 *
 * @param inputs The only differentiable values on which `body` may depend.
 * @param body Returns its results and the rule that maps their cotangents (undefined if none arrived) to cotangents of
 * `inputs`. The rule must agree with the derivative of the body.
 * @returns The results.
 * @throws {LocalgradError} outside of a traced function.
 */
export function customGradient(
  inputs: readonly Tensor[],
  body: (...inputs: Tensor[]) => {
    outputs: readonly Tensor[];
    rule: (cotangents: readonly (Tensor | undefined)[]) => readonly (Tensor | undefined)[];
  },
): readonly Tensor[] {
  const trace = currentTrace("customGradient");
  const start = trace.builder.instructions.length;
  const { outputs, rule } = body(...inputs);
  trace.regions.push({ start, end: trace.builder.instructions.length, inputs, outputs, rule });
  return outputs;
}

/**
 * Returns `f` with gradient checkpointing (Chen et al., 2016, arXiv 1604.06174): the backward pass recomputes its
 * intermediate values instead of keeping them in memory. Values and gradients are the same, at the cost of one more
 * forward pass of `f`.
 *
 * @param f Takes and returns trees of tensors.
 * @returns A function that throws a {@link LocalgradError} outside of a traced function.
 */
export function checkpoint<A extends readonly unknown[], R>(
  f: (...args: A) => R,
): (...args: A) => R {
  return (...args) => {
    const trace = currentTrace("checkpoint");
    const start = trace.builder.instructions.length;
    const result = f(...args);
    const end = trace.builder.instructions.length;
    const exchange = trace.builder.instructions.slice(start, end).find(({ op }) => isCollective(op));
    if (exchange !== undefined) {
      trace.fail(
        `checkpoint: the function exchanges data with other processes (${exchange.op}), which ` +
          "recomputing it would repeat; do so outside of it",
      );
    }
    const { leaves, rebuild } = tensorTree("checkpoint", args);
    const outside = externals(trace, start, end).filter((t) => !leaves.some((leaf) => leaf.id === t.id));
    // An argument that is returned as it was is not a result of the region: its cotangent needs no rule.
    const given = [...leaves, ...outside].map((t) => t.id);
    const returned = tensorTree("checkpoint: the result", result).leaves;
    const made = returned.map((t) => !given.includes(t.id));
    trace.regions.push({
      start,
      end,
      inputs: [...leaves, ...outside],
      outputs: returned.filter((_, i) => made[i]),
      rule(cotangents) {
        // Barriers keep the second computation from being merged with the first.
        const again = leaves.map((leaf) => trace.emit("barrier", [leaf], {}));
        const from = trace.builder.instructions.length;
        const recomputed = tensorTree("checkpoint: the result", f(...rebuild(again))).leaves;
        const outputs = recomputed.filter((_, i) => made[i]);
        return pullback(trace, from, outputs, cotangents, [...again, ...outside]);
      },
    });
    return result;
  };
}

/** The values from outside that instructions `start` to `end` (exclusive) read. */
function externals(trace: Trace, start: number, end: number): Tensor[] {
  const inside = new Set<number>();
  const outside = new Set<number>();
  for (const { inputs, output } of trace.builder.instructions.slice(start, end)) {
    for (const id of inputs) if (!inside.has(id)) outside.add(id);
    inside.add(output);
  }
  return [...outside].map((id) => new Tensor(trace, id));
}
