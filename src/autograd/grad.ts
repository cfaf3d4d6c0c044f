import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";
import { formatAval } from "../trace/dtype.ts";
import { constantLike, expectTensor, Tensor } from "../trace/tensor.ts";
import { currentTrace, type Trace } from "../trace/trace.ts";
import { type Tree, treeFlatten, treeLeaves, treeUnflatten } from "../trace/tree.ts";
import { pullback } from "./pullback.ts";

/**
 * The function that computes both `f` and its gradient to the first argument, which may be a tree. `f` gives a scalar
 * f32, or with `aux` a pair `[scalar, anything]` whose second part is passed through without a gradient.
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
): (params: P, ...rest: A) => [Tensor | [Tensor, X], P] {
  expectKind("what is differentiated", f, "function");
  expectKind("valueAndGrad: the options", options, "object");
  return (params, ...rest) => {
    const trace = currentTrace("valueAndGrad");
    const { fresh, leaves, structure } = freshen(params);
    const start = trace.builder.instructions.length;
    const result = f(fresh, ...rest);
    const value = options.aux === true ? (result as readonly [Tensor, X])[0] : result as Tensor;
    if (!(value instanceof Tensor) || value.shape.length !== 0 || value.dtype !== "f32") {
      const got = value instanceof Tensor ? formatAval(value) : typeof value;
      throw new LocalgradError(
        `valueAndGrad: the function must give a scalar f32 to differentiate, got ${got}; sum or average it, ` +
          `and pass { aux: true } if it gives [loss, others]`,
      );
    }
    const cotangents = pullback(trace, start, [value], [constantLike(1, value)], leaves);
    const gradients = leaves.map((leaf, i) => cotangents[i] ?? constantLike(0, leaf));
    return [result as Tensor | [Tensor, X], treeUnflatten(structure, gradients) as P];
  };
}

/** The function that computes the gradient of `f` to its first argument, which may be a tree; see {@link valueAndGrad}. */
export function grad<P, A extends unknown[]>(
  f: (params: P, ...rest: A) => Tensor,
): (params: P, ...rest: A) => P {
  const both = valueAndGrad(f);
  return (params, ...rest) => both(params, ...rest)[1];
}

/**
 * Computes `f(...primals)` and the function that turns cotangents of its result (of the same structure) into
 * cotangents of the primals.
 */
export function vjp<A extends readonly unknown[], R>(
  f: (...primals: A) => R,
  ...primals: A
): [R, (cotangents: R) => A] {
  const trace = currentTrace("vjp");
  const { fresh, leaves, structure } = freshen(primals);
  const start = trace.builder.instructions.length;
  const result = f(...fresh);
  const outputs = treeLeaves<Tensor>(result as Tree<Tensor>);
  const end = trace.builder.instructions.length;
  return [result, (cotangents) => {
    if (trace.builder.instructions.length < end) {
      throw new LocalgradError("vjp: used outside of its traced function");
    }
    const given = treeLeaves<Tensor>(cotangents as Tree<Tensor>);
    if (given.length !== outputs.length) {
      throw new LocalgradError(
        `vjp: ${given.length} cotangents for ${outputs.length} results; give one for each`,
      );
    }
    const results = pullback(trace, start, outputs, given, leaves);
    return treeUnflatten(
      structure,
      leaves.map((leaf, i) => results[i] ?? constantLike(0, leaf)),
    ) as unknown as A;
  }];
}

/** A copy of a tree under new names: only what is computed from the copy counts as depending on it. */
function freshen<P>(tree: P): { fresh: P; leaves: Tensor[]; structure: Tree<number> } {
  const { leaves, structure } = treeFlatten<Tensor>(tree as Tree<Tensor>);
  // A reshape to the same shape costs nothing once compiled and has the identity as its gradient.
  expectTensor("a gradient", ...leaves);
  const renamed = leaves.map((leaf) => leaf.trace.emit("reshape", [leaf], { shape: leaf.shape }));
  return { fresh: treeUnflatten(structure, renamed) as P, leaves: renamed, structure };
}

/**
 * Records `body(...inputs)` with a gradient rule of its own: cotangents of the results → cotangents of the inputs. The
 * rule must agree with differentiating the body, which must depend on nothing differentiable but `inputs`; it exists
 * to compute the same with less work or memory.
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
 * `f` with gradient checkpointing (Chen et al., 2016, arXiv 1604.06174): nothing that it computes is kept for the
 * backward pass; it is computed again there. Less memory for one more forward pass of `f`; the same values and gradients.
 */
export function checkpoint<A extends readonly unknown[], R>(
  f: (...args: A) => R,
): (...args: A) => R {
  return (...args) => {
    const trace = currentTrace("checkpoint");
    const start = trace.builder.instructions.length;
    const result = f(...args);
    const end = trace.builder.instructions.length;
    const { leaves, structure } = treeFlatten<Tensor>(args as Tree<Tensor>);
    const outside = externals(trace, start, end).filter((t) => !leaves.some((leaf) => leaf.id === t.id));
    // A result that is an argument handed back is no result of the region: its cotangent needs no help.
    const given = [...leaves, ...outside].map((t) => t.id);
    const made = treeLeaves<Tensor>(result as Tree<Tensor>).map((t) => !given.includes(t.id));
    const outputs = treeLeaves<Tensor>(result as Tree<Tensor>).filter((_, i) => made[i]);
    trace.regions.push({
      start,
      end,
      inputs: [...leaves, ...outside],
      outputs,
      rule(cotangents) {
        // Barriers keep the second computation from being merged with the first.
        const again = leaves.map((leaf) => trace.emit("barrier", [leaf], {}));
        const from = trace.builder.instructions.length;
        const recomputed = treeLeaves<Tensor>(
          f(...treeUnflatten(structure, again) as unknown as A) as Tree<Tensor>,
        )
          .filter((_, i) => made[i]);
        return pullback(trace, from, recomputed, cotangents, [...again, ...outside]);
      },
    });
    return result;
  };
}

/** What instructions `start … end` read from outside. */
function externals(trace: Trace, start: number, end: number): Tensor[] {
  const inside = new Set<number>();
  const outside = new Set<number>();
  for (let i = start; i < end; i++) {
    const { inputs, output } = trace.builder.instructions[i];
    for (const id of inputs) if (!inside.has(id)) outside.add(id);
    inside.add(output);
  }
  return [...outside].map((id) => new Tensor(trace, id));
}
