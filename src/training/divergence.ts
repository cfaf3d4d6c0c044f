import type { Snapshot, StepRecord } from "../artifacts/observer.ts";
import { variableOf } from "../artifacts/tensor_names.ts";
import { LocalgradError } from "../base/errors.ts";
import type { LocalModule } from "../local/setup.ts";
import type { Initial } from "../nn/initial.ts";
import { treeFlatten } from "../trace/tree.ts";

/** The error of a run that diverged; `what` names the place. */
export function diverged(what: string, learningRate: number): LocalgradError {
  return new LocalgradError(
    `fit: ${what}; lower the learning rate (${learningRate}), or find the op by the trainer's checkNumerics`,
    { code: "diverged" },
  );
}

/** Refuses a step whose loss, or gradient norm, of a module is NaN or infinite. */
export function refuseDivergedStep(
  { losses, gradientNorms, step, learningRate }: StepRecord,
  modules: readonly LocalModule[],
): void {
  for (const [what, values] of [["the loss", losses], ["the gradient norm", gradientNorms]] as const) {
    for (const { index, name } of values === undefined ? [] : modules) {
      const value = values?.[index];
      if (Number.isFinite(value)) continue;
      throw diverged(
        `${what} of module ${index + 1} (${name}) became ${value} in step ${step}`,
        learningRate,
      );
    }
  }
}

/**
 * Refuses a snapshot that holds a NaN or an infinity in its parameters, running statistics, averages or optimizer slots.
 * A value can diverge while every loss is still finite, such as a weight that only dead units read. The learning rate is
 * undefined before the first step, where no step can have caused it.
 */
export function refuseDiverged(
  { tensors, step }: Snapshot,
  modules: readonly LocalModule[],
  learningRate: number | undefined,
): void {
  const found = nonFinite(tensors);
  if (found === undefined) return;
  const { name, value } = found;
  const module = modules.find((module) => belongs(module, variableOf(name)));
  const where = module === undefined ? "" : ` of module ${module.index + 1} (${module.name})`;
  const what = `${name}${where} holds ${value}`;
  if (learningRate !== undefined) throw diverged(`${what} after step ${step}`, learningRate);
  throw new LocalgradError(
    `fit: ${what} before the first step; start from other weights or another checkpoint`,
  );
}

/** The first tensor that holds a NaN or an infinity, with that value; undefined if none does. */
export function nonFinite(tensors: Snapshot["tensors"]): { name: string; value: number } | undefined {
  for (const [name, { data }] of tensors) {
    const value = data instanceof Float32Array ? data.find((value) => !Number.isFinite(value)) : undefined;
    if (value !== undefined) return { name, value };
  }
  return undefined;
}

/** True if a module's update changes the tensor. */
function belongs({ params, state }: LocalModule, name: string): boolean {
  return [params, state].some((tree) => treeFlatten<Initial>(tree).paths.includes(name));
}
