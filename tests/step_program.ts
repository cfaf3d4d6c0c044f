import { categorize } from "../src/local/memory.ts";
import type { Method } from "../src/local/method.ts";
import { setup, type TrainState } from "../src/local/setup.ts";
import { trainStep } from "../src/local/step.ts";
import { batchAvals } from "../src/local/step_inputs.ts";
import type { Model } from "../src/models/model.ts";
import { sgd } from "../src/optim.ts";
import { publishedSgd } from "../src/optim/published.ts";
import { jit } from "../src/runtime/jit.ts";
import type { Program } from "../src/trace/program.ts";
import type { Tensor } from "../src/trace/tensor.ts";

/** A complete training step, as the trainer traces it. */
export function stepProgram(model: Model, modules: number, method: Method, batch: number): Program {
  const optimizer = sgd(publishedSgd);
  const built = setup({ model, modules, method, optimizer });
  const { x, labels, images } = batchAvals(model, batch);
  const step = jit(
    (train: TrainState<Tensor>, x: Tensor, labels: Tensor, images: Tensor, learningRate: Tensor) =>
      trainStep(built, train, { x, labels, images }, { learningRate }),
    { name: "step", donate: [0], categorize },
  );
  return step.program(built.initial as never, x, labels, images, { shape: [], dtype: "f32" });
}
