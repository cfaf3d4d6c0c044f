/** Proves that a backend needs no more than `docs/adding-a-backend.md` says. */

import { assert, assertEquals } from "@std/assert";
import { data, Device, local, models, optim } from "../mod.ts";
import { programCases } from "./ops/cases/programs.ts";
import { emptyCases, recipeCases } from "./ops/cases/recipes.ts";
import { checkCases } from "./ops/check.ts";
import { Random } from "./ops/random.ts";
import { verified, withBackend } from "./ops/suite.ts";
import { ToyBackend } from "./toy_backend.ts";

Deno.test("a backend of one page gives the reference's results, and frees all memory", async () => {
  const random = new Random(1);
  const cases = [...recipeCases(random), ...emptyCases(random), ...programCases(random, 60)];
  await withBackend(
    () => ({ backend: new ToyBackend() }),
    (backend) => checkCases(backend, cases, verified),
  );
});

Deno.test("a trainer runs on a backend that the library does not know", async () => {
  await using device = new Device(new ToyBackend());
  using trainer = await local.trainer({
    device,
    model: models.resnet8(),
    modules: 2,
    method: local.man(local.dgl()),
    optimizer: optim.sgd({ momentum: 0.9 }),
    batch: 4,
  });
  const images = data.shapes({ train: 8, test: 4 });
  await trainer.fit(images, { epochs: 1, observers: [] });
  assertEquals([device.name, trainer.stepsDone], ["toy", 2]);
  const { error } = await trainer.evaluate(images);
  assert(error >= 0 && error <= 1);
});
