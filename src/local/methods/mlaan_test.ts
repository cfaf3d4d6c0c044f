import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { host, integers, noise, run } from "../../../tests/run.ts";
import { tinyModel } from "../../../tests/tiny.ts";
import { LocalgradError } from "../../base/errors.ts";
import { key } from "../../base/random.ts";
import { resnet20, resnet32 } from "../../models/resnet.ts";
import { initialize } from "../../nn/initial.ts";
import { descend } from "../../nn/named.ts";
import { sgd } from "../../optim/sgd.ts";
import type { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treeFlatten } from "../../trace/tree.ts";
import type { Batch } from "../method.ts";
import { placeOf } from "../places.ts";
import { setup, type TrainState } from "../setup.ts";
import { trainStep } from "../step.ts";
import { mlaan } from "./mlaan.ts";

const optimizer = sgd({ momentum: 0.9 });

Deno.test("mlaan() copies the blocks that change the features, and evenly some of the rest", () => {
  const copied = (model: ReturnType<typeof resnet32>, modules: number, depth: number) => {
    const made = setup({ model, modules, method: mlaan({ depth }), optimizer });
    const params = initialize(made.initial.params, key(0));
    const names = made.model.blocks.map(({ name }) => name);
    const weightOf = (path: string) => descend(params, `${path}.conv1`)["weight"] as HostArray | undefined;
    return made.modules.slice(1, -1).map(({ index }) => {
      const blocks = [...names.keys()].map((i) => weightOf(`${placeOf(index)}.blocks.${i}`));
      return blocks.flatMap((copy) => copy ?? []).map(({ data }) =>
        // A copy starts as its block.
        names.find((name) => {
          const own = weightOf(name)!.data;
          return own.length === data.length && own.every((value, i) => value === data[i]);
        })
      ).join(" ");
    });
  };
  const found = copied(resnet32(), 15, 4);
  // As in the published table for ResNet-32, which was written by hand; it has one block fewer after layer3.0.
  assertEquals(found[0], "layer2.0 layer3.0 layer3.2 layer3.4");
  assertEquals(found[5], "layer3.0 layer3.2 layer3.3 layer3.4");
  assertEquals(found.slice(-3), ["layer3.2 layer3.3 layer3.4", "layer3.3 layer3.4", "layer3.4"]);
  assertEquals(copied(resnet20(), 9, 1)[0], "layer2.0 layer3.0"); // no fewer: the chain must change the features
});

Deno.test("mlaan() moves the average of the first copied block toward that block, and trains the copies", () => {
  const made = setup({ model: tinyModel(), modules: 3, method: mlaan({ momentum: 0.5 }), optimizer });
  const draw = key(0);
  const start = {
    params: initialize(made.initial.params, draw),
    state: initialize(made.initial.state, draw),
    optimizer: initialize(made.initial.optimizer, draw),
  };
  const zeros = new Float32Array(4 * 4 * 9 * 2);
  const { leaves, paths, structure: _ } = treeFlatten<HostArray>(start as never);
  const at = (path: string) => leaves[paths.indexOf(path)]!;
  const tracked = "params.layer2.0.conv1.weight", average = "state.local.1.ema.conv1.weight";
  at(average).data.set(zeros.subarray(0, at(average).data.length));
  const batch = {
    x: noise("x", [4, 8, 8, 3]),
    labels: integers([0, 1, 2, 0]),
    images: host([...noise("x", [4, 8, 8, 3]).data], [4, 8, 8, 3]),
  };
  const before = Float64Array.from(at(tracked).data);
  const f = (train: TrainState<Tensor>, batch: Batch) => trainStep(made, train, batch, { learningRate: 0.1 });
  const after = run(f, start, batch);
  after[`train.${average}`]!.data.forEach((value, i) => assertAlmostEquals(value, 0.5 * before[i]!, 1e-7));
  for (const path of ["params.local.1.blocks.0.conv2.weight", "params.local.1.classifier.fc.weight"]) {
    assert(after[`train.${path}`]!.data.some((value, i) => value !== at(path).data[i]), path);
  }
});

Deno.test("mlaan() refuses impossible options", () => {
  assertThrows(() => mlaan({ depth: 0 }), LocalgradError, "mlaan: depth must be a whole number");
  assertThrows(
    () => mlaan({ momentum: 1 }),
    LocalgradError,
    "mlaan: momentum must be at least 0 and below 1",
  );
  assertThrows(() => mlaan({ cascade: 1.5 }), LocalgradError, "mlaan: cascade must be");
});
