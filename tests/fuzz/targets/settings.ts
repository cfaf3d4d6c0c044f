import { decodeJson, json, record } from "../../../src/base/decode.ts";
import { setupOf, warmupOf } from "../../../src/cli/build.ts";
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

/** The settings in a checkpoint, up to the setup of the network, the method and the cut. */
export const target: MakeTarget = () => ({
  input: (random) => damagedJson(random, [settings, folder, { ...settings, modules: ["layer1.0"] }]),
  read(input) {
    const stored = decodeJson(input, { file: "x", remedy: "use another" }, record(json));
    const accepted = storedSettings(stored, "x");
    const { model, modules } = setupOf(accepted);
    partition(model, modules);
    warmupOf(accepted);
  },
});
