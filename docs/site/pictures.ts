/**
 * Draws the pictures of the gallery, each from what its example's own run gives, on the CPU:
 *
 *     deno task pictures                # all, in some minutes
 *     deno task pictures own_step.ts    # one; fine_tuning.ts and prediction_service.ts need the run of own_data.ts
 *
 * The runs are kept in `site/pictures`.
 *
 * @module
 */

import { fromFileUrl } from "@std/path";
import { encodePng } from "../../src/artifacts/png.ts";
import { shapes } from "../../src/data/shapes.ts";
import { bars, type Curve, curves, type Tile, tiles } from "./draw.ts";
import { firstFilters, metricsOf, printedErrors, printedLosses, rowsOf, samplesOf } from "./outputs.ts";
import { Runner } from "./runner.ts";

const LIMIT = 400; // MiB
/** The classes of the drawn pictures that stand for flowers. */
const FLOWERS = ["disc", "cross"];

/** How the picture of each example is made. The runs before leave their files in the same folder. */
export const SCENES: { readonly [example: string]: (runner: Runner) => Promise<string> } = {
  async "memory_limit.ts"({ run }) {
    return bars(rowsOf(await run("memory_limit.ts", ["--limit", String(LIMIT)])), LIMIT);
  },
  async "own_step.ts"({ run }) {
    const [points = []] = printedLosses(await run("own_step.ts", ["--device", "cpu"]));
    return curves([{ name: "training loss", points }], { x: "step", y: "loss" });
  },
  async "own_method.ts"({ run }) {
    const lines = printedLosses(await run("own_method.ts", ["--device", "cpu"]));
    return curves(modules(lines), { x: "epoch", y: "mean loss" });
  },
  async "own_network.ts"({ run, folder }) {
    await run("own_network.ts", ["--device", "cpu"]);
    const filters = await firstFilters(`${folder}/own.safetensors`, "features.0.conv.weight");
    return tiles(filters.map(({ png }, i) => ({ png, lines: [`filter ${i + 1}`] })), 60);
  },
  async "regression.ts"({ run }) {
    return curves(printedErrors(await run("regression.ts", ["--device", "cpu"])), {
      x: "epoch",
      y: "mean absolute error",
    });
  },
  async "language_model.ts"({ run, root }) {
    const lines = printedErrors(
      await run("language_model.ts", ["--text", `${root}/docs`, "--device", "cpu"]),
    );
    return curves(lines, { x: "step", y: "bits a byte" });
  },
  async "cifar10_man.ts"({ run, folder }) {
    const small = ["--data", "shapes", "--epochs", "2", "--train-limit", "256", "--batch", "16"];
    await run("cifar10_man.ts", [...small, "--device", "cpu", "--run", "runs/taste"]);
    const { losses } = await metricsOf(`${folder}/runs/taste`);
    return curves(modules(losses), { x: "step", y: "loss" });
  },
  async "segmentation.ts"({ run, folder }) {
    await run("segmentation.ts", ["--device", "cpu"]);
    const { losses } = await metricsOf(`${folder}/runs/segmentation`);
    return curves(modules(losses), { x: "step", y: "loss" });
  },
  async "own_data.ts"({ run, folder }) {
    await writePictures(`${folder}/flowers`, FLOWERS);
    await run("own_data.ts", []);
    return tiles(await samplesOf(`${folder}/runs/flowers`, 12), 76);
  },
  async "fine_tuning.ts"({ run, exported, folder }) {
    await exported("runs/flowers", "flowers.safetensors");
    await writePictures(`${folder}/leaves`, ["ring", "star"]);
    const own = [
      "--weights",
      "flowers.safetensors",
      "--data",
      "leaves",
      "--model",
      "resnet20",
      "--size",
      "64",
    ];
    const printed = await run("fine_tuning.ts", [...own, "--batch", "16", "--device", "cpu"]);
    const [, before = ""] = /error ([\d.]+) % with the new head/.exec(printed) ?? [];
    const { errors } = await metricsOf(`${folder}/runs/fine-tuned`);
    const points = [[0, Number(before)] as const, ...errors.map(([x, y]) => [x, 100 * y] as const)];
    return curves([{ name: "test error", points }], { x: "epoch", y: "percent" });
  },
  async "prediction_service.ts"({ serve, exported, folder }) {
    await exported("runs/flowers", "flowers.safetensors");
    await using server = await serve("prediction_service.ts");
    const shown: Tile[] = [];
    for (const name of FLOWERS) {
      for (const number of [0, 1, 2, 3]) {
        const body = await Deno.readFile(`${folder}/flowers/val/${name}/${number}.png`);
        const top: { name: string; probability: number }[] = await (await fetch(server.url, {
          method: "POST",
          body,
        })).json();
        const lines = top.slice(0, 2).map(({ name, probability }) =>
          `${name} ${(100 * probability).toFixed(0)} %`
        );
        shown.push({ png: body.toBase64(), lines, right: top[0]?.name === name });
      }
    }
    return tiles(shown, 76);
  },
  async "serve.ts"({ serve, script }) {
    await using server = await serve("serve.ts");
    const printed = await script(
      `import { optim } from "${server.url}/mod.ts";
const rate = optim.warmupCosine({ base: 0.1, warmup: 5, epochs: 60 });
for (let epoch = 0; epoch < 60; epoch++) {
  console.log(\`step \${epoch + 1}: loss \${rate(epoch, { step: epoch, stepsPerEpoch: 1 }).toFixed(4)}\`);
}`,
      [`--allow-import=${new URL(server.url).host}`],
    );
    const [points = []] = printedLosses(printed);
    return curves([{ name: "optim.warmupCosine", points }], { x: "epoch", y: "learning rate" });
  },
};

/** Names the lines of a network's modules. */
function modules(lines: readonly Curve["points"][]): Curve[] {
  return lines.map((points, i) => ({ name: `module ${i + 1}`, points }));
}

/** Writes drawn pictures of some classes as own pictures: 64 of each to train on, 16 to test. */
async function writePictures(folder: string, names: readonly string[]): Promise<void> {
  const { train, test, classes } = shapes({ train: 1000, test: 400 });
  for (const [part, { images, labels }, most] of [["train", train, 64], ["val", test, 16]] as const) {
    for (const name of names) {
      await Deno.mkdir(`${folder}/${part}/${name}`, { recursive: true });
      const indices = Array.from(labels, (label, i) => classes[label] === name ? i : -1).filter((i) =>
        i >= 0
      );
      for (const [number, index] of indices.slice(0, most).entries()) {
        const pixels = images.subarray(index * 3072, (index + 1) * 3072);
        await Deno.writeFile(`${folder}/${part}/${name}/${number}.png`, await encodePng(pixels, 32, 32, 3));
      }
    }
  }
}

if (import.meta.main) {
  const root = fromFileUrl(new URL("../..", import.meta.url)).replace(/\/$/, "");
  const runner = await Runner.in(root, `${root}/site/pictures`);
  const unknown = Deno.args.find((name) => !Object.hasOwn(SCENES, name));
  if (unknown !== undefined) throw new Error(`there is no example ${unknown}; choose ${Object.keys(SCENES)}`);
  for (const [name, draw] of Object.entries(SCENES)) {
    if (Deno.args.length > 0 && !Deno.args.includes(name)) continue;
    const path = `examples/${name.replace(/\.ts$/, ".svg")}`;
    await Deno.writeTextFile(`${root}/${path}`, await draw(runner));
    console.log(path);
  }
}
