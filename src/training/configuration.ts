import type { Configuration } from "../artifacts/observer.ts";
import type { Setup } from "../local/setup.ts";
import { taskOf } from "../models/model.ts";
import { described } from "../optim/optimizer.ts";

/** The configuration of a run, as JSON, for its checkpoints and report. */
export function configurationOf(setup: Setup, batch: number, seed: number): Configuration {
  const { model, method, optimizer, loss, average, accumulate, batchNorm, modules, precision } = setup;
  return {
    model: model.name,
    classes: model.classes,
    task: taskOf(model),
    modules: modules.map((module) => module.name),
    method: { name: method.name, ...method.options },
    optimizer: described(optimizer),
    ...(loss === undefined ? {} : { loss: { name: loss.name, ...loss.options } }),
    ...(average === undefined ? {} : { average }),
    ...(accumulate === undefined ? {} : { accumulate }),
    ...(batchNorm === "synchronised" ? { batchNorm } : {}),
    ...(precision === undefined ? {} : { precision }),
    batch,
    seed,
  };
}
