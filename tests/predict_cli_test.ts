/** The command `predict`, and the decoder of pictures. */

import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { LocalgradError } from "../src/base/errors.ts";
import { liveDecoderCount } from "../src/data/folder/decoders.ts";
import { pictures } from "../src/data/folder/pictures.ts";
import type { Signature } from "../src/data/signature.ts";
import * as local from "../src/local.ts";
import * as models from "../src/models.ts";
import { sgd } from "../src/optim/sgd.ts";
import { load } from "../src/predict.ts";
import { open } from "../src/runtime/devices.ts";
import { writeCheckpoint } from "../src/train.ts";
import { cli, refused } from "./command_line.ts";
import { photographs, write } from "./dataset_files.ts";
import { inFolder } from "./in_folder.ts";

const SIGNATURE: Signature = {
  classes: ["daisy", "roses"],
  height: 16,
  width: 24,
  channels: 3,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
  crop: 0.875,
};

/** The settings of a run on a folder of images, as `train` keeps them. */
const SETTINGS = {
  dataset: "folder",
  model: "resnet8",
  modules: 1,
  method: "endToEnd",
  batch: 2,
  epochs: 1,
  lr: 0.1,
};

Deno.test("predict prints the most probable classes of files and folders, and goes on after a damaged file", () =>
  inFolder(async (dir) => {
    await write(`${dir}/flowers`, photographs());
    await Deno.writeFile(`${dir}/flowers/bad.jpg`, new Uint8Array(9));
    await using device = await open("cpu");
    for (const [run, size] of [["new", [16, 24]], ["old", 16]] as const) {
      const model = models.resnet8({ classes: 2, size });
      using trainer = await local.trainer({
        device,
        model,
        method: local.endToEnd(),
        optimizer: sgd(),
        batch: 2,
      });
      const snapshot = await trainer.snapshot();
      await Deno.mkdir(`${dir}/${run}`);
      await writeCheckpoint(`${dir}/${run}/last.safetensors`, {
        snapshot: run === "new" ? { ...snapshot, signature: SIGNATURE } : snapshot,
        settings: run === "new" ? {} : { ...SETTINGS, imageSize: 16, seed: 0 },
      });
    }
    const predicted = await cli(
      dir,
      "predict",
      "--run",
      "new",
      "flowers/val/roses/1.jpg",
      "flowers",
      "--json",
      "--top",
      "1",
    );
    assertEquals(predicted.code, 2, predicted.stderr);
    assertMatch(predicted.stderr, /^error: flowers\/bad\.jpg is not a JPEG, PNG, WebP, BMP or TIFF/m);
    const lines = predicted.stdout.trim().split("\n").map((line) => JSON.parse(line));
    const files = Object.keys(photographs()).map((file) => `flowers/${file}`).sort();
    assertEquals(lines.map(({ file }) => file), ["flowers/val/roses/1.jpg", ...files]);
    await using predictor = await load(`${dir}/new`, {
      device,
      decoder: pictures({ threads: 1 }),
      checkpoint: "last",
    });
    const missing = await assertRejects(
      async () => await predictor.predict(`${dir}/none.jpg`),
      LocalgradError,
      "none.jpg does not exist",
    );
    assertStringIncludes(missing.stack ?? "", "predict_cli_test.ts"); // the caller, not the thread's message
    for (const { file, top } of lines) {
      const { best } = await predictor.predict(`${dir}/${file}`);
      assertEquals([top.length, top[0].name, top[0].probability.toFixed(4)], [
        1,
        best.name,
        best.probability.toFixed(4),
      ]);
    }

    // A run of an earlier version is read, and says what is missing.
    const old = await cli(dir, "predict", "--run", "old", "flowers/val/roses/1.jpg");
    assertEquals(old.code, 0, old.stderr);
    assertMatch(
      old.stderr,
      /^old was made by an earlier version.* those of --dataset folder .* classes are numbered/m,
    );
    assertMatch(
      old.stdout,
      /^picture +most probable +2nd\n─.*\nflowers\/val\/roses\/1\.jpg +[01] \d+\.\d\d % +[01] \d/,
    );

    await refused(dir, /predict needs pictures: give files/, "predict", "--run", "new");
    const run = ["predict", "--run", "new", "--checkpoint", "last"] as const;
    await refused(
      dir,
      /--maps needs a network that labels pixels; resnet8 gives/,
      ...run,
      "--maps",
      "m",
      "a.jpg",
    );
    await refused(dir, /--maps flowers is there already/, ...run, "--maps", "flowers", "a.jpg");
    await refused(
      dir,
      /there is nothing at none; give the folder of a run, or a \.safetensors file/,
      ...["predict", "--run", "none", "a.jpg"],
    );
    await Deno.writeFile(`${dir}/x.onnx`, Uint8Array.of(8, 10, 0x12, 9));
    const cases: [RegExp, string][] = [
      [/x\.onnx is an ONNX model, not a safetensors file; ONNX Runtime runs it/, "x.onnx"],
      [
        /roses\/1\.jpg is a picture, not a safetensors file; .* come after the flags/,
        "flowers/val/roses/1.jpg",
      ],
      [/flowers\/last\.safetensors; give the folder of a run/, "flowers"],
    ];
    for (const [message, run] of cases) await refused(dir, message, "predict", "--run", run, "a.jpg");
  }));

Deno.test("pictures() decodes files and their contents to any proportions, and names what it cannot decode", () =>
  inFolder(async (dir) => {
    const files = photographs();
    await write(dir, files);
    {
      await using decoder = pictures({ threads: 1 });
      const path = `${dir}/train/daisy/1.jpg`; // 40 × 28
      const wide = await decoder.decode(path, { height: 14, width: 20 }); // the whole picture
      const square = await decoder.decode(path, { height: 14, width: 14 });
      const inner = await decoder.decode(path, { height: 8, width: 8, crop: 8 / 14 });
      const columns = (pixels: Uint8Array, width: number, from: number, to: number, rows: [number, number]) =>
        Array.from(
          { length: rows[1] - rows[0] },
          (
            _,
            row,
          ) => [...pixels.subarray(((row + rows[0]) * width + from) * 3, ((row + rows[0]) * width + to) * 3)],
        ).flat();
      assertEquals(columns(wide, 20, 3, 17, [0, 14]), [...square]); // its centre
      assertEquals([...inner], columns(square, 14, 3, 11, [3, 11]));
      const blob = new Blob([await Deno.readFile(path)]);
      assertEquals(await decoder.decode(blob, { height: 14, width: 20 }), wide);
      for (
        const [picture, message] of [
          [new Blob([]), "the picture is empty"],
          [new File(["<svg/>"], "drawing.svg"), "drawing.svg is not a JPEG"],
          [`${dir}/none.jpg`, "none.jpg does not exist"],
        ] as const
      ) {
        const error = await assertRejects(
          () => decoder.decode(picture, { height: 8, width: 8 }),
          LocalgradError,
        );
        assertStringIncludes(error.message, message);
      }
      assertEquals(await decoder.list(dir), Object.keys(files).map((file) => `${dir}/${file}`).sort());
      await assertRejects(() => decoder.list(`${dir}/none`), LocalgradError, "none is not a folder");
    }
    assertEquals(liveDecoderCount(), 0);
  }));
