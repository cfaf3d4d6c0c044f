import { LocalgradError } from "../errors.ts";
import { treeFlatten } from "../trace/tree.ts";
import type { Initial } from "../nn/initial.ts";
import type { Snapshot } from "./observer.ts";
import type { LocalModule } from "./step.ts";

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
  for (const [name, { data }] of tensors) {
    if (!(data instanceof Float32Array)) continue;
    const bad = data.findIndex((value) => !Number.isFinite(value));
    if (bad < 0) continue;
    const module = modules.find((module) => belongs(module, name.replace(/^optimizer\.[^.]+\./, "")));
    const where = module === undefined ? "" : ` of module ${module.index + 1} (${module.name})`;
    const what = `${name}${where} holds ${data[bad]}`;
    if (learningRate !== undefined) throw diverged(`${what} after step ${step}`, learningRate);
    throw new LocalgradError(
      `fit: ${what} before the first step; start from other weights or another checkpoint`,
    );
  }
}

/** Whether a tensor is what a module's update changes. */
function belongs({ params, state }: LocalModule, name: string): boolean {
  return [params, state].some((tree) => treeFlatten<Initial>(tree).paths.includes(name));
}
