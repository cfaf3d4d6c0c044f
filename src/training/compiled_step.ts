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
  /** The loss of each module, then the number of images classified correctly: f32 `[modules + 1]`. */
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
      const { train: after, losses, correct } = f(train, ...rest);
      return { train: after, metrics: concat([losses, correct.reshape(1)]) };
    },
    { ...options, donate: [0], categorize },
  );
}

/** Reads a step's {@link Stepped.metrics}. */
export async function readMetrics(metrics: DeviceArray): Promise<{ losses: number[]; correct: number }> {
  const losses = [...await metrics.read()];
  const correct = losses.pop() ?? NaN;
  return { losses, correct };
}
