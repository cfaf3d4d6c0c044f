import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { run } from "../../tests/run.ts";
import { tinyVit } from "../../tests/tiny.ts";
import { batch, start } from "../../tests/tiny_step.ts";
import { key } from "../base/random.ts";
import type { Model } from "../models/model.ts";
import { dropout } from "../nn/dropout.ts";
import { sequential, stateless } from "../nn/layer.ts";
import { linear } from "../nn/linear.ts";
import { sgd } from "../optim/sgd.ts";
import type { Tensor } from "../trace/tensor.ts";
import { stepProgram } from "./memory.ts";
import { type Batch, classified, type Method } from "./method.ts";
import { dgl, endToEnd, greedy, hpff, man, manPlusPlus, sgr } from "./methods/methods.ts";
import { methodNamed, methodNames } from "./methods/named.ts";
import { keyIn, randomScalars } from "./randomness.ts";
import { setup, type TrainState } from "./setup.ts";
import { trainStep } from "./step.ts";

/** A transformer with dropout after each block. */
function dropping(): Model {
  const { blocks, ...rest } = tinyVit();
  return {
    ...rest,
    blocks: blocks.map((block) => ({ ...block, layer: sequential({ block: block.layer, drop: dropout() }) })),
  };
}

const made = (method: Method, accumulate?: number, model = dropping()) =>
  setup({ model, modules: 3, method, optimizer: sgd(), ...(accumulate === undefined ? {} : { accumulate }) });

/** Losses of a step with this seed. */
function losses(method: Method, seed: number, accumulate?: number, model?: Model): number[] {
  const own = made(method, accumulate, model);
  const scalars = { learningRate: 0.05, ...randomScalars(own, key(seed)) };
  const f = (train: TrainState<Tensor>, batch: Batch, scalars: { [name: string]: Tensor }) =>
    trainStep(own, train, batch, scalars).losses;
  return [...run(f, start(own), batch(6), scalars)[""]!.data];
}

Deno.test("a step's scalars carry its key, bit for bit, if the network needs one", () => {
  const seed = Uint32Array.of(0xfedcba98, 0x7fff8001);
  const words = run(
    (scalars: { [name: string]: Tensor }) => keyIn(scalars)!,
    randomScalars(made(greedy()), seed),
  );
  assertEquals([...words[""]!.data], [...seed]);
  assertEquals(randomScalars(made(greedy(), undefined, tinyVit()), seed), {});
  assertEquals(keyIn({ learningRate: 0.1 }), undefined);
});

Deno.test("every method trains a network with dropout", () => {
  for (const name of methodNames) {
    const { outputs } = stepProgram(made(methodNamed(name)), 4);
    assert(outputs.length > 0, name);
  }
});

Deno.test("a step's dropout follows from its key, and differs by micro-batch", () => {
  for (const method of [endToEnd(), dgl(), man(greedy())]) {
    assertEquals(losses(method, 1), losses(method, 1), method.name);
    assertNotEquals(losses(method, 1), losses(method, 2), method.name);
  }
  assertNotEquals(losses(greedy(), 1, 2), losses(greedy(), 2, 2));
});

Deno.test("a user's head has dropout for a network without random layers, in any wrapper", () => {
  const own: Method = {
    name: "own",
    options: {},
    auxiliary: ({ features: [, width = 1], model }) =>
      classified(sequential({
        drop: dropout(),
        mean: stateless((x) => x.mean(1)),
        fc: linear({ in: width, out: model.classes }),
      })),
  };
  for (
    const method of [own, man(own), manPlusPlus(own), hpff(own), hpff(greedy(), { alone: own }), sgr(own)]
  ) {
    const seeds = [1, 1, 2].map((seed) => losses(method, seed, undefined, tinyVit()));
    assertEquals(seeds[0], seeds[1], method.name);
    assertNotEquals(seeds[0], seeds[2], method.name);
  }
});

Deno.test("checkpointing drops the same values", () => {
  assertEquals(losses(endToEnd({ checkpoint: 2 }), 1), losses(endToEnd(), 1));
});
