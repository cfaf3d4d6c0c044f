import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { tinyModel, tinySegmenter } from "../../tests/tiny.ts";
import { rgb } from "../artifacts/palette.ts";
import { encodePng } from "../artifacts/png.ts";
import { LocalgradError } from "../base/errors.ts";
import { boxOf } from "../data/folder/boxes.ts";
import { Decoders } from "../data/folder/decoders.ts";
import { decodeLabels } from "../data/folder/label_png.ts";
import { pictures } from "../data/folder/pictures.ts";
import type { Model } from "../models/model.ts";
import { layer } from "../nn/layer.ts";
import { Predictor } from "../predict/predictor.ts";
import { open } from "../runtime/devices.ts";
import { stack } from "../trace/functions.ts";
import { mapsOf, refuseFolder, refuseOther, writeMaps } from "./predict_maps.ts";

/** A network that marks bright pixels. */
const bright: Model = {
  name: "bright",
  input: { height: 8, width: 8, channels: 3 },
  classes: 2,
  task: "segmentation",
  stem: {},
  blocks: [{ name: "block", layer: layer({ apply: (_params, state, x) => ({ y: x.mean(3), state }) }) }],
  head: { logits: layer({ apply: (_params, state, x) => ({ y: stack([x.neg(), x], 3), state }) }) },
};

const signature = {
  classes: ["dark", "bright"],
  ...bright.input as { height: 8; width: 8; channels: 3 },
  ...{ mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
};

/** Grey pixels whose last `count` columns are bright. */
const half = (height: number, width: number, count: number) =>
  Uint8Array.from({ length: height * width }, (_, i) => i % width >= width - count ? 240 : 15);

Deno.test("label maps have the size of their pictures, and are read as label maps", () =>
  inFolder(async (dir) => {
    const sizes = { "wide.png": [20, 40], "deep/tall.png": [32, 16], "small.png": [2, 4] } as const;
    await Deno.mkdir(`${dir}/in/deep`, { recursive: true });
    for (const [name, [height, width]] of Object.entries(sizes)) {
      await Deno.writeFile(
        `${dir}/in/${name}`,
        await encodePng(half(height, width, width / 2), height, width, 1),
      );
    }
    await Deno.writeFile(`${dir}/in/bad.jpg`, new Uint8Array(9));
    await using device = await open("cpu");
    const decoder = pictures({ threads: 1 });
    await using predictor = new Predictor({
      ...{ device, model: bright, precision: "f32", signature, batch: 2, decoder },
      variables: () => ({ params: {}, state: {} }),
    });
    const files = (await decoder.list(`${dir}/in`)).map((file) => ({ file, folder: `${dir}/in` }));
    const maps = mapsOf(`${dir}/maps`, files);
    assertEquals(maps.map(({ map }) => map.slice(dir.length)), [
      "/maps/bad.png",
      "/maps/deep/tall.png",
      "/maps/small.png",
      "/maps/wide.png",
    ]);
    assertEquals(await writeMaps(predictor, maps, 2, false), 2); // one is damaged, the others are written
    for (const [name, [height, width]] of Object.entries(sizes)) {
      const bytes = await Deno.readFile(`${dir}/maps/${name}`);
      const map = decodeLabels(name, bytes);
      assertEquals([map.height, map.width], [height, width]);
      assertEquals(map.labels, half(height, width, width / 2).map((value) => value > 128 ? 1 : 0), name);
      const palette = new TextDecoder("latin1").decode(bytes).indexOf("PLTE") + 4;
      assertEquals([...bytes.subarray(palette, palette + 6)], [...rgb(0, 2), ...rgb(1, 2)]);
    }
    // A map of the network's size is that of an array, as before.
    const [map] = await predictor.segment([new Uint8Array(8 * 8 * 3).fill(200)]);
    assertEquals([map?.height, map?.width, map?.labels.every((label) => label === 1)], [8, 8, true]);
  }));

Deno.test("a whole picture is shown as in tests, with the mean beside it", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.png`;
    const values = Uint8Array.from({ length: 30 * 10 }, (_, i) => (i * 37) % 256);
    await Deno.writeFile(path, await encodePng(values, 30, 10, 1));
    await using decoders = new Decoders(1);
    await using decoder = pictures({ threads: 1 });
    const box = boxOf({ height: 30, width: 10 }, [8, 8]);
    const expected = await decoders.decode({ path, size: [8, 8], box, fill: [128, 128, 128] });
    const { pixels, of, to } = await decoder.whole!(path, signature);
    assertEquals([of, to], [[30, 10], box.to]);
    assertEquals(pixels, expected);
  }));

Deno.test("colours of a palette are those of reports", () => {
  assertEquals(rgb(1, 4), [0xf2, 0x8e, 0x2b]);
  assertEquals(rgb(0, 20), [67, 133, 208]); // hsl(212 60% 54%), by Python's colorsys
});

Deno.test("what cannot be written has one clear error", async () => {
  await inFolder(async (dir) => {
    const taken = () => refuseFolder(dir);
    await assertRejects(taken, LocalgradError, "is there already; choose a new folder");
    await refuseFolder(`${dir}/new`);
  });
  const refusals: [() => void, string][] = [
    [
      () => refuseOther(tinyModel(), { maps: "m" }),
      "--maps needs a network that labels pixels; tiny gives one class",
    ],
    [
      () => refuseOther(tinySegmenter(), {}),
      "tinySegmenter labels pixels; give a new folder for the label maps",
    ],
    [
      () => refuseOther(tinySegmenter(), { maps: "m", top: "3" }),
      "--top is of the classes of whole pictures",
    ],
    [
      () => mapsOf("m", [{ file: "a/1.jpg", folder: "a" }, { file: "b/1.png", folder: "b" }]),
      "the label maps of a/1.jpg and b/1.png would both be m/1.png",
    ],
  ];
  for (const [wrong, message] of refusals) assertThrows(wrong, LocalgradError, message);
  refuseOther(tinyModel(), { top: "3" });
  refuseOther(tinySegmenter(), { maps: "m" });
});
