/** Messages of the library that a command can meet name the flag, not the option of the library. */

import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { inFolder } from "../../../tests/in_folder.ts";
import { LocalgradError } from "../../base/errors.ts";
import { key } from "../../base/random.ts";
import * as local from "../../local.ts";
import { weightsAt } from "../../local/methods/infopro_weights.ts";
import { mlp, resnet8 } from "../../models.ts";
import { freeze, sgd } from "../../optim.ts";
import { diverged } from "../../training/divergence.ts";
import { splitOf } from "../../training/feeds/split.ts";
import { inFlags } from "./messages.ts";
import { openReproduction } from "../reproduce/reproduction.ts";

const setup = (options: Partial<local.SetupOptions>) => () =>
  local.setup({ model: resnet8(), method: local.dgl(), optimizer: sgd(), modules: 2, ...options });

Deno.test("messages of the library are told in flags", () => {
  const vectors = mlp({ features: 2, hidden: [4, 4], classes: 2 });
  const boundary = {
    index: 0,
    count: 1,
    requested: 2,
    model: resnet8(),
    module: { name: "a", blocks: [] },
    next: { name: "b" },
  };
  const cases: [() => unknown, RegExp][] = [
    [() => splitOf(key(0), 32, 0.001), /^--validation 0\.001 of 32 training images sets 0 aside/],
    [() => local.crossEntropyLoss({ classWeights: [0, 0] }), /^--class-weights: all class weights are 0/],
    [
      setup({ loss: local.crossEntropyLoss({ classWeights: [1, 2] }) }),
      /^--class-weights: 2 class weights for a network of 10 classes/,
    ],
    [setup({ optimizer: freeze(sgd(), ["x"]) }), /^--freeze: resnet8 has no parameter that begins with "x"/],
    [setup({ modules: { after: ["x"] } }), /^--after: resnet8 has no block "x"/],
    [setup({ modules: { after: ["layer3.0"] } }), /^--after: layer3\.0 is the last block/],
    [setup({ modules: { after: ["layer2.0", "layer1.0"] } }), /^--after: boundaries must follow the order/],
    [setup({ modules: 9 }), /^--modules: resnet8 has 3 blocks and cannot be cut into 9 modules/],
    [() => {
      throw diverged("the loss became NaN in step 3", 0.5);
    }, /^fit: the loss became NaN in step 3; lower the learning rate \(--lr; it was 0\.5\)$/],
    [setup({ model: vectors, method: local.infopro() }), /: reconstructs images; choose --method dgl/],
    [
      () =>
        weightsAt(boundary as never, {
          weights: { reconstruction: [0, 0], task: [0, 0] },
        }),
      /the module would learn nothing\. Choose another --weight-schedule, or --method dgl$/,
    ],
    [() => local.infopro({ anchors: "all" }), /choose --task contrastive or leave --anchors out/],
  ];
  for (const [fails, told] of cases) {
    const { message } = assertThrows(fails, LocalgradError);
    assertMatch(inFlags(message), told, message);
  }
  assertEquals(inFlags("the run has no last checkpoint"), "the run has no last checkpoint");
});

Deno.test("a reproduction that was started otherwise is told in flags", () =>
  inFolder(async (dir) => {
    const identity = { table: "ablation", device: "cpu", lr: 0.01, trainLimit: 64 };
    (await openReproduction(dir, identity))[Symbol.dispose]();
    const { trainLimit: _trainLimit, ...fewer } = identity;
    const cases: [object, string][] = [
      [{ ...identity, lr: 0.02 }, "was started with --lr 0.01, not 0.02; give the same"],
      [fewer, "was started with --train-limit 64, not without"],
      [{ ...identity, testLimit: 9 }, "was started without --test-limit, not with 9"],
      [{ ...identity, device: "cuda" }, "was started with --device cpu, not cuda"],
      [{ ...identity, recompute: true }, "was started without recompute, not with true"],
    ];
    for (const [now, message] of cases) {
      await assertRejects(() => openReproduction(dir, { ...now }), LocalgradError, message);
    }
  }));
