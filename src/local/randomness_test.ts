import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { run } from "../../tests/run.ts";
import { tinyVit } from "../../tests/tiny.ts";
import { batch, start } from "../../tests/tiny_step.ts";
import { key } from "../base/random.ts";
import type { Model } from "../models/model.ts";
import { dropout } from "../nn/dropout.ts";
import { sequential } from "../nn/layer.ts";
import { sgd } from "../optim/sgd.ts";
import type { Tensor } from "../trace/tensor.ts";
import { stepProgram } from "./memory.ts";
import type { Batch, Method } from "./method.ts";
import { dgl, endToEnd, greedy, man } from "./methods/methods.ts";
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
function losses(method: Method, seed: number, accumulate?: number): number[] {
  const own = made(method, accumulate);
  const scalars = { learningRate: 0.05, ...randomScalars(own.model, key(seed)) };
  const f = (train: TrainState<Tensor>, batch: Batch, scalars: { [name: string]: Tensor }) =>
    trainStep(own, train, batch, scalars).losses;
  return [...run(f, start(own), batch(6), scalars)[""]!.data];
}

Deno.test("a step's scalars carry its key, bit for bit, if the network needs one", () => {
  const seed = Uint32Array.of(0xfedcba98, 0x7fff8001);
  const words = run(
    (scalars: { [name: string]: Tensor }) => keyIn(scalars)!,
    randomScalars(dropping(), seed),
  );
  assertEquals([...words[""]!.data], [...seed]);
  assertEquals(randomScalars(tinyVit(), seed), {});
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

Deno.test("checkpointing drops the same values", () => {
  assertEquals(losses(endToEnd({ checkpoint: 2 }), 1), losses(endToEnd(), 1));
});
