import { vjp } from "../src/autograd/grad.ts";
import { evaluate } from "../src/backends/reference/evaluate.ts";
import { type Shape, sizeOf } from "../src/trace/dtype.ts";
import { concat } from "../src/trace/functions.ts";
import type { Program } from "../src/trace/program.ts";
import { Tensor } from "../src/trace/tensor.ts";
import { Trace, withTrace } from "../src/trace/trace.ts";
import type { Random } from "./ops/random.ts";

/** A function of f32 tensors to differentiate. */
export type Differentiable = (...inputs: Tensor[]) => Tensor;

/** A point at which to differentiate. */
export interface Point {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** Elements uniform in [low, high), in full float64 precision. */
export function point(random: Random, shape: Shape, low: number = -2, high: number = 2): Point {
  const data = Float64Array.from({ length: sizeOf(shape) }, () => low + (high - low) * random.unit());
  return { shape, data };
}

/** Records a function of f32 inputs of these shapes. */
export function record(f: Differentiable, shapes: readonly Shape[]): Program {
  const trace = new Trace();
  const inputs = shapes.map((shape, i) =>
    new Tensor(trace, trace.builder.input({ shape, dtype: "f32" }, `x${i}`))
  );
  const output = withTrace(trace, () => f(...inputs));
  return trace.builder.finish("f", [{ value: output.id, name: "y" }]);
}

/** The pullback as a function of the inputs and a cotangent: the concatenated cotangents of all inputs. */
export function derivative(f: Differentiable): Differentiable {
  return (...given) => {
    const [inputs, cotangent] = [given.slice(0, -1), given.at(-1)!];
    const [, pull] = vjp(f as (...inputs: readonly Tensor[]) => Tensor, ...inputs);
    return concat(pull(cotangent).map((ct) => ct.reshape(ct.size)));
  };
}

/** Half the step of a central difference: far above float64's rounding errors, and far below the scale of curvature. */
const STEP = 1e-6;

/**
 * Compares the gradient of `f` at a point with central differences of `f` along random directions, in float64 on the
 * reference and without the compiler. For higher orders, up to `order`, the gradient takes the place of the function.
 */
export function checkGradient(
  f: Differentiable,
  inputs: readonly Point[],
  random: Random,
  order: number,
): void {
  const shapes = inputs.map(({ shape }) => shape);
  const program = record(f, shapes);
  const result = program.values[program.outputs[0].value];
  const cotangent = point(random, result.shape);
  const value = (at: readonly Float64Array[]) => dot(evaluate(program, at)[0], cotangent.data);
  const data = inputs.map((input) => input.data);
  const all = evaluate(record(derivative(f), [...shapes, result.shape]), [...data, cotangent.data])[0];
  let start = 0;
  for (const [i, { data: x }] of inputs.entries()) {
    const gradient = all.subarray(start, start += x.length);
    for (let trial = 0; trial < 2; trial++) {
      const direction = x.map(() => random.unit() < 0.5 ? -1 : 1);
      const along = (step: number) => value(data.with(i, x.map((v, k) => v + step * direction[k])));
      const difference = (along(STEP) - along(-STEP)) / (2 * STEP);
      const slope = dot(gradient, direction);
      const scale = 1 + gradient.reduce((sum, g) => sum + Math.abs(g), 0);
      if (!(Math.abs(slope - difference) <= 1e-6 * scale)) {
        throw new Error(
          `order ${order}, input ${i}: the gradient says ${slope}, differences say ${difference}`,
        );
      }
    }
  }
  if (order > 1) {
    try {
      checkGradient(derivative(f), [...inputs, cotangent], random, order - 1);
    } catch (error) {
      throw new Error(`gradient of the gradient: ${(error as Error).message}`);
    }
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, x, i) => sum + x * b[i], 0);
}
