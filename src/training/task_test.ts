/** What was trained as a regression is not read as a classifier of the same shapes, nor the reverse. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { decodeSafetensors, encodeSafetensors } from "../artifacts/safetensors.ts";
import { LocalgradError } from "../base/errors.ts";
import * as data from "../data.ts";
import * as local from "../local.ts";
import * as models from "../models.ts";
import { exportOnnx } from "../onnx/onnx.ts";
import { sgd } from "../optim/sgd.ts";
import { load } from "../predict.ts";
import { open } from "../runtime/devices.ts";
import { loadWeights, readRun, saveWeights } from "../train.ts";
import { HostArray } from "../trace/host_array.ts";

const MODELS = {
  regression: models.mlp({ features: 2, hidden: [4], outputs: 3 }),
  classification: models.mlp({ features: 2, hidden: [4], classes: 3 }),
};
const x = new HostArray(Float32Array.from({ length: 16 }, (_, i) => i / 16), [8, 2]);
const DATA = {
  regression: data.arrays({ x, labels: new HostArray(new Float32Array(24), [8, 3]) }),
  classification: data.arrays({ x, labels: new Int32Array(8), classes: ["a", "b", "c"] }),
};

for (const [task, other] of [["regression", "classification"], ["classification", "regression"]] as const) {
  Deno.test(`a ${task}'s files are refused for a ${other} of the same shapes, by name`, () =>
    inFolder(async (dir) => {
      await using device = await open("cpu");
      const options = { device, method: local.endToEnd(), optimizer: sgd(), batch: 4 };
      const [run, file] = [`${dir}/run`, `${dir}/x.safetensors`];
      using trainer = await local.trainer({ ...options, model: MODELS[task] });
      await trainer.fit(DATA[task], { epochs: 1, checkpoint: run, observers: [] });
      const { snapshot } = await readRun(run, "last");
      await saveWeights(file, snapshot);
      assertEquals((await loadWeights(file)).network?.task, task);

      const model = MODELS[other];
      using wrong = await local.trainer({ ...options, model });
      const weights = await loadWeights(file);
      const nouns = { regression: "regression", classification: "classifier" };
      const message = `: the values are those of a ${nouns[task]}, and ${model.name} is a ${
        nouns[other]
      }; make the network with task: "`;
      for (const path of [run, file, `${run}/last.safetensors`]) {
        await assertRejects(
          () => load(path, { device, model, onNote() {} }),
          LocalgradError,
          `${path}${message}${task}"`,
        );
        await using predictor = await load(path, { device, model: MODELS[task], onNote() {} });
        assertEquals(predictor.model, MODELS[task]);
      }
      assertThrows(() => wrong.load(weights), LocalgradError, `${file}${message}`);
      assertThrows(() => wrong.restore(snapshot), LocalgradError, `restore: the snapshot${message}`);
      await assertRejects(
        () => wrong.fit(DATA[other], { epochs: 1, checkpoint: run, resume: true }),
        LocalgradError,
        `has task "${task}", not "${other}"`,
      );
      wrong.load(weights, { newHead: true });

      // Files of earlier versions do not say their task.
      const { tensors } = decodeSafetensors(await Deno.readFile(file), file);
      await Deno.writeFile(file, encodeSafetensors({ tensors, metadata: { format: "pt" } }));
      wrong.load(await loadWeights(file));
    }));
}

Deno.test("an ONNX file names its task, and values of another task are refused", async () => {
  const model = models.resnet8({ classes: 2, size: 8 });
  await using device = await open("cpu");
  using trainer = await local.trainer({
    device,
    model,
    method: local.endToEnd(),
    optimizer: sgd(),
    batch: 2,
  });
  const snapshot = await trainer.snapshot();
  const named = (bytes: Uint8Array) =>
    ["regression", "classification"].filter((task) =>
      decode(bytes).includes(`task\x12${String.fromCharCode(task.length)}${task}`)
    );
  const decode = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes);
  assertEquals(named(exportOnnx(model, snapshot)), ["classification"]);
  const regression = { ...model, task: "regression" } as const;
  assertThrows(
    () => exportOnnx(regression, snapshot),
    LocalgradError,
    "the weights: the values are those of a classifier",
  );
  const { tensors } = snapshot;
  assertEquals(named(exportOnnx(regression, { tensors })), ["regression"]);
});
