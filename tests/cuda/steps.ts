import type { Plan, Precision, Target } from "../../src/compile/plan.ts";
import { dgl, infopro, man, type Method } from "../../src/local.ts";
import { stepPlan } from "../../src/local/memory.ts";
import { setup } from "../../src/local/setup.ts";
import type { Model } from "../../src/models/model.ts";
import { resnet110, resnet32 } from "../../src/models/resnet.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";

/** Plans a step for a target, in a precision; once, for all who ask for it. */
export type PlanStep = (target: Target, precision?: Precision) => Plan;

function manStep(model: Model, modules: number, method: Method, batch: number): PlanStep {
  const plans = new Map<Target, Map<Precision, Plan>>();
  return (target, precision = "f32") =>
    plans.getOrInsertComputed(target, () => new Map()).getOrInsertComputed(precision, () =>
      stepPlan(
        setup({ model, modules, method: man(method), optimizer: sgd(publishedSgd), precision }),
        batch,
        target,
      ));
}

/** Real training steps, by name. */
export const steps: Readonly<Record<string, PlanStep>> = {
  "a MAN + DGL step of ResNet-32, 16 modules, batch 1024": manStep(resnet32(), 16, dgl(), 1024),
  "a MAN + InfoPro step of ResNet-32, 16 modules, batch 128": manStep(resnet32(), 16, infopro(), 128),
  "a MAN + DGL step of ResNet-110, 55 modules, batch 1024": manStep(resnet110(), 55, dgl(), 1024),
};
