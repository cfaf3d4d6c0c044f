import { gelu as geluOf, silu as siluOf } from "../trace/activations.ts";
import { expectGelu, type GeluOptions } from "../trace/gelu_options.ts";
import { type Layer, stateless } from "./layer.ts";

/** ReLU: max(x, 0). */
export function relu(): Layer {
  return stateless((x) => x.relu());
}

/** ReLU that ends at 6: min(max(x, 0), 6), as in MobileNet. */
export function relu6(): Layer {
  return stateless((x) => x.relu().minimum(6));
}

/**
 * The Gaussian error linear unit: x · Φ(x) (Hendrycks and Gimpel, 2016, arXiv 1606.08415).
 *
 * @throws {LocalgradError} for an unknown approximation.
 *
 * @example
 * ```ts
 * import { devices, jit, nn, type Tensor } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * using x = device.array([1]);
 * using y = jit((x: Tensor) => nn.gelu().apply({}, {}, x, "evaluate").y, { device })(x);
 * assertAlmostEquals((await y.read())[0], 0.841345, 1e-6);
 * ```
 */
export function gelu(options: GeluOptions = {}): Layer {
  expectGelu(options);
  return stateless((x) => geluOf(x, options));
}

/** The sigmoid linear unit, also called swish: x · σ(x) (Elfwing et al., 2017, arXiv 1702.03118). */
export function silu(): Layer {
  return stateless(siluOf);
}
