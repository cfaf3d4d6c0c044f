import { decodeJson, json, record } from "../../../src/base/decode.ts";
import { scheduleOf, setupOf } from "../../../src/cli/build.ts";
import { storedSettings } from "../../../src/cli/stored_settings.ts";
import { partition } from "../../../src/local.ts";
import type { MakeTarget } from "../harness.ts";
import { damagedJson } from "../mutate.ts";

const settings = {
  ...{ dataset: "shapes", model: "resnet20", modules: 3, method: "man+dgl", batch: 32, epochs: 2, lr: 0.1 },
  ...{ methodOptions: { momentum: 0.995, fusion: "sum" }, seed: 3, precision: "f32", trainLimit: 100 },
};
const folder = {
  ...{ dataset: "folder", model: "resnet18", modules: { published: "man", modules: 4 }, method: "infopro" },
  ...{
    classes: 2,
    classNames: ["a", "b"],
    imageSize: 64,
    batch: 16,
    epochs: 50,
    scheduleEpochs: 60,
    lr: 0.1,
  },
  ...{ seed: 0, saveEvery: { minutes: 10 }, evalEvery: 2, recompute: true, testLimit: 9, data: "/data" },
};

const tuned = {
  ...settings,
  optimizer: {
    ...{ name: "muon", weightDecay: 0.1, decay: "matrices", clip: { norm: 1 }, freeze: ["conv1"] },
    ...{ average: { decay: 0.9, from: 3, every: 2 }, accumulate: 2 },
  },
  rates: { schedule: "one-cycle", warmup: { steps: 5 } },
  augment: { crop: 2, flip: false, randaugment: { ops: 2, magnitude: 9 }, hue: 0.1, erase: 0.5, mixup: 0.2 },
  earlyStopping: { patience: 3, metric: "loss", minDelta: 0.1 },
};

/** The settings in a checkpoint, up to the setup of the network, the method and the cut. */
export const target: MakeTarget = () => ({
  input: (random) => damagedJson(random, [settings, folder, tuned, { ...settings, modules: ["layer1.0"] }]),
  read(input) {
    const stored = decodeJson(input, { file: "x", remedy: "use another" }, record(json));
    const accepted = storedSettings(stored, "x");
    const { model, modules } = setupOf(accepted);
    partition(model, modules);
    scheduleOf(accepted)(0, { step: 0, stepsPerEpoch: 3 });
  },
});
