/**
 * Trains one step of a network within several limits, and prints what was planned beside what the device held:
 *
 *     deno run -P=eval --lock=deno.lock bench/limits.ts [--model resnet32] [--method endToEnd] [--batch 128]
 *         [--device cpu] [SIZE …]
 *
 * Without sizes: no limit that matters, and three quarters, a half and two fifths of end to end's plain peak.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { data, devices, local, models, optim } from "../mod.ts";
import { formatBytes, formatPercent } from "../src/artifacts/format.ts";
import { bytesOfSize } from "../src/base/size.ts";
import { markdownTable } from "../src/cli/terminal.ts";

const { model: name, method: way, batch: images, device: wanted, _: sizes } = parseArgs(Deno.args, {
  string: ["model", "method", "batch", "device", "_"],
  default: { model: "resnet32", method: "endToEnd", batch: "128", device: "cpu" },
});
const model = models.modelNamed(name as models.ModelName, { classes: 10, size: 32 });
const batch = Number(images);
const optimizer = optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 });
const run = { model, optimizer, batch, method: local.methodNamed(way as local.MethodName) };
const { train: { images: pixels, labels } } = data.shapes({ train: batch, test: 1 });
const x = Float32Array.from(pixels, (byte) => byte / 255);

const rows: string[][] = [];
let described = wanted;
let limits = sizes.map((size: string | number) => bytesOfSize("a limit", size));
if (limits.length === 0) {
  await using device = await devices.open(wanted as "cpu");
  const { peakBytes } =
    local.memory({ ...run, method: local.endToEnd(), target: device.backend.target }).method;
  limits = [2, 0.75, 0.5, 0.4].map((share) => Math.floor(share * peakBytes));
}
for (const memoryLimit of limits) {
  // A fresh device for each, whose memory is that of this step.
  await using device = await devices.open(wanted as "cpu");
  described = device.arithmetic;
  using trainer = await local.trainer({ ...run, device, memoryLimit });
  const shape = [batch, 32, 32, 3];
  using input = device.array(x, shape);
  using original = device.array(x, shape);
  const { losses } = await trainer.step({ x: input, images: original, labels: Int32Array.from(labels) });
  const { description, peakBytes } = trainer.plan();
  const held = device.backend.liveBytes;
  rows.push([
    formatBytes(memoryLimit),
    description,
    formatBytes(peakBytes),
    formatBytes(held),
    formatPercent(held / peakBytes - 1, 2),
    held <= memoryLimit ? "yes" : "no",
    losses.map((loss) => loss.toFixed(6)).join(" "),
  ]);
}
console.log(`${name}, batch ${batch}, ${described}\n`);
console.log(markdownTable(["limit", "chosen", "planned", "held", "difference", "within", "loss"], rows));
if (rows.some((row) => row[5] === "no")) Deno.exitCode = 1;
