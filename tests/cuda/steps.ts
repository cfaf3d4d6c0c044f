import type { Plan, Precision, Target } from "../../src/compile/plan.ts";
import { categorize } from "../../src/local/memory.ts";
import type { Batch } from "../../src/local/method.ts";
import { dgl, infopro, man, type Method } from "../../src/local/local.ts";
import { type Setup, setup, type TrainState, trainStep } from "../../src/local/step.ts";
import type { Model } from "../../src/models/model.ts";
import { resnet110, resnet32 } from "../../src/models/resnet.ts";
import { sgd } from "../../src/optim/sgd.ts";
import type { Aval } from "../../src/trace/dtype.ts";
import { jit } from "../../src/trace/jit.ts";
import type { Tensor } from "../../src/trace/tensor.ts";

/** The plan of one training step of a setup; nothing is allocated. */
function stepPlan(setup: Setup, batch: number, target: Target): Plan {
  const { height, width, channels } = setup.model.input;
  const image: Aval = { shape: [batch, height, width, channels], dtype: "f32" };
  const step = jit(
    (
      train: TrainState<Tensor>,
      _data: Record<never, never>,
      batch: Batch,
      scalars: { [name: string]: Tensor },
    ) => trainStep(setup, train, batch, scalars),
    { name: `${setup.method.name} step`, donate: [0], categorize },
  );
  const scalars: { [name: string]: Aval } = {};
  for (const name of Object.keys(setup.optimizer.scalars(0, 0))) scalars[name] = { shape: [], dtype: "f32" };
  const avals = { x: image, labels: { shape: [batch], dtype: "i32" } as Aval, images: image };
  return step.plan(target, setup.initial as never, {}, avals, scalars);
}

/** Plans a step for a target, in a precision. */
export type PlanStep = (target: Target, precision?: Precision) => Plan;

const manStep =
  (model: Model, modules: number, method: Method, batch: number): PlanStep => (target, precision = "f32") =>
    stepPlan(
      setup({
        model,
        modules,
        method: man(method),
        optimizer: sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
        precision,
      }),
      batch,
      target,
    );

/** Real training steps, by what they are called in tests. */
export const steps: Readonly<Record<string, PlanStep>> = {
  "a MAN + DGL step of ResNet-32, 16 modules, batch 1024": manStep(resnet32(), 16, dgl(), 1024),
  "a MAN + InfoPro step of ResNet-32, 16 modules, batch 128": manStep(resnet32(), 16, infopro(), 128),
  "a MAN + DGL step of ResNet-110, 55 modules, batch 1024": manStep(resnet110(), 55, dgl(), 1024),
};
