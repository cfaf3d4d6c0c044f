/**
 * The run of the MAN paper (arXiv 2407.05623): ResNet-32 on CIFAR-10 in 16 local modules, InfoPro's losses after
 * momentum auxiliary networks, 400 epochs, 1024 images per step. The run's folder gets metrics, checkpoints and a
 * report; started again, the run resumes.
 *
 * With the data set in a folder, or as the official archive:
 *
 *     deno run --allow-read --allow-write=runs examples/cifar10_man.ts --data ~/cifar-10-binary.tar.gz
 *
 * Without `--data` it is downloaded, which also needs `--allow-net=www.cs.toronto.edu:443`, `--allow-env` and
 * `--allow-write`. A short run on generated images, in a minute or two:
 *
 *     deno run --allow-read=runs --allow-write=runs examples/cifar10_man.ts --data shapes \
 *       --epochs 2 --train-limit 512 --batch 32 --run runs/taste
 */

// A full specifier, because scripts run by URL have no import map.
// deno-lint-ignore no-import-prefix
import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import { data, devices, local, models, optim } from "../mod.ts";

const flags = parseArgs(Deno.args, {
  string: ["data", "epochs", "train-limit", "batch", "device", "run"],
  default: { epochs: "400", batch: "1024", device: "auto", run: "runs/cifar10-man" },
  unknown(flag: string) {
    console.error(`there is no ${flag}; choose among --data --epochs --train-limit --batch --device --run`);
    Deno.exit(2);
  },
});
const [epochs, batch] = [Number(flags.epochs), Number(flags.batch)];
const limit = flags["train-limit"] === undefined ? undefined : Number(flags["train-limit"]);

const whole = flags.data === "shapes"
  ? data.shapes({ train: limit ?? 20_000, test: 2_000 })
  : await data.cifar10(flags.data === undefined ? {} : { path: flags.data });
const images = limit === undefined ? whole : data.limitImages(whole, { train: limit, test: limit });

await using device = await devices.open(flags.device as devices.DeviceName);
console.log(device.choice);
using trainer = await local.trainer({
  device,
  model: models.resnet32({ classes: images.classes.length }),
  modules: 16,
  method: local.man(local.infopro(), { momentum: 0.995 }),
  optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
  // 0.8 is for 1024 images a step; smaller batches take proportionally smaller steps.
  schedule: optim.warmupCosine({ base: 0.8 * batch / 1024, warmup: 10, epochs: Math.max(epochs, 10) }),
  batch,
});
console.log(trainer.partition.description);
const { method, endToEnd } = trainer.memory;
console.log(
  `planned peak of a step: ${mebibytes(method.peakBytes)}, end to end ${mebibytes(endToEnd.peakBytes)}`,
);

const { last } = await trainer.fit(images, { epochs, checkpoint: flags.run, resume: true });
// A run that was finished before is only evaluated.
const { error } = last ?? await trainer.evaluate(images);
console.log(`test error ${(100 * error).toFixed(2)} %; see ${flags.run}/report.html`);

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
