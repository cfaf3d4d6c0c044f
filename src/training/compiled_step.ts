import { categorize } from "../local/memory.ts";
import type { TrainState } from "../local/setup.ts";
import type { StepResult } from "../local/step.ts";
import type { DeviceArray } from "../runtime/arrays.ts";
import { jit, type JitOptions, type Jitted } from "../runtime/jit.ts";
import { concat } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";

/** Result of a compiled step. */
export interface Stepped<T> {
  readonly train: TrainState<T>;
  /**
   * The loss of each module, then the number of images classified correctly, then the norm of each module's gradients if
   * they are clipped by norm: f32 `[modules + 1]` or `[2 * modules + 1]`.
   */
  readonly metrics: T;
}

/** A compiled step: `train` is donated, `rest` is the batch and the optimizer's scalars. */
export type CompiledStep<A extends readonly unknown[]> = Jitted<
  [train: TrainState<Tensor>, ...rest: A],
  Stepped<Tensor>
>;

/** Compiles a training step. */
export function compileStep<A extends readonly unknown[]>(
  f: (train: TrainState<Tensor>, ...rest: A) => StepResult,
  options: JitOptions,
): CompiledStep<A> {
  return jit(
    (train: TrainState<Tensor>, ...rest: A) => {
      const { train: after, losses, correct, norms } = f(train, ...rest);
      return { train: after, metrics: concat([losses, correct.reshape(1), ...(norms ? [norms] : [])]) };
    },
    { ...options, donate: [0], categorize },
  );
}

/** What a step measured. */
export interface StepMetrics {
  readonly losses: readonly number[];
  readonly correct: number;
  readonly gradientNorms?: readonly number[];
}

/** Reads a step's {@link Stepped.metrics}. */
export async function readMetrics(metrics: DeviceArray, modules: number): Promise<StepMetrics> {
  const values = [...await metrics.read()];
  const [losses, norms] = [values.slice(0, modules), values.slice(modules + 1)];
  return { losses, correct: values[modules] ?? NaN, ...(norms.length === 0 ? {} : { gradientNorms: norms }) };
}
