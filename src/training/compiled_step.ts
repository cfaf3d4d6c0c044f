import { categorize } from "../local/memory.ts";
import type { TrainState } from "../local/setup.ts";
import type { StepResult } from "../local/step.ts";
import { jit, type JitOptions, type Jitted } from "../runtime/jit.ts";
import { concat } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";

/** Result of a compiled step. */
export interface Stepped<T> {
  readonly train: TrainState<T>;
  /**
   * The loss of each module, then the step's score, see {@link StepResult.score}, then the norm of each module's gradients
   * if they are clipped by norm: f32 `[modules + 1]` or `[2 * modules + 1]`.
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
      const { train: after, losses, score, norms } = f(train, ...rest);
      return { train: after, metrics: concat([losses, score.reshape(1), ...(norms ? [norms] : [])]) };
    },
    { ...options, donate: [0], categorize },
  );
}
