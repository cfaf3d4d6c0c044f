import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, shown } from "../../base/expect.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { expectInner, type Method } from "../method.ts";

/**
 * The distance between two gradients at a boundary, of one image's loss each: `squared`, the mean over images of the
 * squared norm of their difference, as in the paper; `relative`, the squared norms of the differences over those of the
 * given gradients; `symmetric`, over those of both; `cosine`, the mean over images of 1 − their cosine.
 */
export type GradientDistance = "squared" | "relative" | "symmetric" | "cosine";

/** Options of {@link sgr}. */
export interface SgrOptions {
  /** The weight of the distance in a module's loss, above 0; default 0.01. */
  weight?: number;
  /** The distance; default `symmetric`. */
  distance?: GradientDistance;
}

/** The distances, of gradients of a loss that is the mean over images: `[batch, …]` each. */
const distances: { readonly [name in GradientDistance]: (given: Tensor, own: Tensor) => Tensor } = {
  // Gradients of the mean over n images are 1/n of each image's.
  squared: (given, own) => norms(own.sub(given)).sum().mul(own.shape[0] ?? 1),
  relative: (given, own) => norms(own.sub(given)).sum().div(norms(given).sum().maximum(TINY)),
  symmetric: (given, own) =>
    norms(own.sub(given)).sum().div(norms(given).sum().add(norms(own).sum()).maximum(TINY)),
  cosine(given, own) {
    const lengths = norms(given).maximum(TINY).sqrt().mul(norms(own).maximum(TINY).sqrt());
    return given.mul(own).sum(1).div(lengths).neg().add(1).mean();
  },
};

/** Keeps quotients finite where gradients vanish. */
const TINY = 1e-30;

/**
 * Successive Gradient Reconciliation (Yang et al., ICML 2024, arXiv 2406.05222) around a method with a local loss, such
 * as `dgl()`, `man(dgl())` or `augLocal()`. At each boundary there are two gradients of the features: of the loss of the
 * module before, which makes them, and of the module after, which takes them. End to end they are the same. A multiple of
 * their distance is added to the loss of the module after. The gradient of the module before is held fixed, so that
 * information flows forward only: no gradient crosses the boundary, and there are no more parameters. The term needs the
 * gradient of a gradient within a module, so that a module takes about twice as long, and keeps more memory.
 *
 * The paper's weight is not at hand: `weight` and the normalised distances are this library's.
 *
 * @throws {LocalgradError} if the method has no local loss or averages that move between the passes, or for an
 * impossible option.
 *
 * @example
 * ```ts
 * import { local } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const method = local.sgr(local.dgl(), { weight: 0.01, distance: "cosine" });
 * assertEquals(method.name, "sgr+dgl");
 * ```
 */
export function sgr(method: Method, options: SgrOptions = {}): Method {
  expectInner("sgr", method);
  expectOptions("sgr", options, { weight: "number?", distance: "string?" });
  const { weight = 0.01, distance = "symmetric" } = options;
  if (movesBetweenPasses(method.options)) {
    throw new LocalgradError(
      `sgr: ${method.name} with moves "beforeBackward" has no gradients to differentiate, because its backward pass uses ` +
        'other weights than the forward pass; choose "afterBackward" or "afterStep"',
    );
  }
  if (!(weight > 0 && weight < Infinity)) {
    throw new LocalgradError(`sgr: the weight must be above 0, not ${weight}`);
  }
  const between = Object.hasOwn(distances, distance) ? distances[distance] : undefined;
  if (between === undefined) {
    throw new LocalgradError(
      `sgr: there is no distance ${shown(distance)}; choose one of ${Object.keys(distances).join(", ")}`,
    );
  }
  return {
    ...method,
    name: `sgr+${method.name}`,
    options: { weight, distance, inner: { name: method.name, ...method.options } },
    reconcile: (given, own) => between(rows(given), rows(own)).mul(weight),
  };
}

/** True if a method, or one that it wraps, lets its averages move between the passes. */
function movesBetweenPasses({ moves, inner }: Method["options"]): boolean {
  return moves === "beforeBackward" ||
    (typeof inner === "object" && inner !== null && movesBetweenPasses({ ...inner }));
}

/** A row for each image, in f32. */
function rows(gradients: Tensor): Tensor {
  return gradients.cast("f32").reshape(gradients.shape[0] ?? 1, -1);
}

/** The squared norm of each row. */
function norms(rows: Tensor): Tensor {
  return rows.square().sum(1);
}
