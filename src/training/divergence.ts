import type { Snapshot } from "../artifacts/observer.ts";
import { LocalgradError } from "../base/errors.ts";
import type { LocalModule } from "../local/setup.ts";
import type { Initial } from "../nn/initial.ts";
import { treeFlatten } from "../trace/tree.ts";

/** The error of a run that diverged; `what` says where that shows. */
export function diverged(what: string, learningRate: number): LocalgradError {
  return new LocalgradError(
    `fit: ${what}; lower the learning rate (${learningRate}), or find the op with checkNumerics`,
    { code: "diverged" },
  );
}

/**
 * Refuses a snapshot that holds a NaN or an infinity: parameters, running statistics, averages and the optimizer's
 * slots alike. A value can be spoilt while every loss is still a number, such as a weight that only dead units read.
 * Without a learning rate it is what the run begins with, which no step has spoilt.
 */
export function refuseDiverged(
  { tensors, step }: Snapshot,
  modules: readonly LocalModule[],
  learningRate: number | undefined,
): void {
  const spoilt = spoiltIn(tensors);
  if (spoilt === undefined) return;
  const { name, value } = spoilt;
  const module = modules.find((module) => belongs(module, name.replace(/^optimizer\.[^.]+\./, "")));
  const where = module === undefined ? "" : ` of module ${module.index + 1} (${module.name})`;
  const what = `${name}${where} holds ${value}`;
  if (learningRate !== undefined) throw diverged(`${what} after step ${step}`, learningRate);
  throw new LocalgradError(
    `fit: ${what} before the first step; start from other weights or another checkpoint`,
  );
}

/** The first tensor that holds a NaN or an infinity, and which; undefined where none does. */
export function spoiltIn(tensors: Snapshot["tensors"]): { name: string; value: number } | undefined {
  for (const [name, { data }] of tensors) {
    const value = data instanceof Float32Array ? data.find((value) => !Number.isFinite(value)) : undefined;
    if (value !== undefined) return { name, value };
  }
  return undefined;
}

/** Whether a tensor is what a module's update changes. */
function belongs({ params, state }: LocalModule, name: string): boolean {
  return [params, state].some((tree) => treeFlatten<Initial>(tree).paths.includes(name));
}
