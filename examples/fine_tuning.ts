/**
 * Fine-tuning: the weights of a trained network, a new head for other classes, and low learning rates. The weights may be
 * PyTorch's, such as torchvision's ResNet-18 saved by
 * `safetensors.torch.save_file(resnet18(weights="DEFAULT").state_dict(), "resnet18.safetensors")`, or those of a
 * run, such as `runs/flowers/best.safetensors`.
 *
 *     deno run --allow-read --allow-write=runs examples/fine_tuning.ts --weights resnet18.safetensors --data flowers
 *
 * Takes `--model`, `--size`, `--epochs`, `--batch`, `--rate`, `--device` and `--run` too.
 */

// A full specifier, because scripts run by URL have no import map.
// deno-lint-ignore no-import-prefix
import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import { devices, local, models, optim, train } from "../mod.ts";
import { imageFolder } from "../src/data/folder/folder.ts";

const flags = parseArgs(Deno.args, {
  string: ["weights", "data", "model", "size", "epochs", "batch", "rate", "device", "run"],
  default: {
    weights: "resnet18.safetensors",
    data: "flowers",
    model: "resnet18",
    size: "224",
    epochs: "5",
    batch: "32",
    rate: "0.005",
    device: "auto",
    run: "runs/fine-tuned",
  },
  unknown(flag: string) {
    console.error(
      `there is no ${flag}; choose among --weights --data --model --size --epochs --batch --rate --device --run`,
    );
    Deno.exit(2);
  },
});
const [size, epochs, batch, rate] = [flags.size, flags.epochs, flags.batch, flags.rate].map(Number);

const images = await imageFolder({ path: flags.data, size });
const weights = await train.loadWeights(flags.weights);
for (const note of weights.notes) console.log(note);

await using device = await devices.open(flags.device as devices.DeviceName);
using trainer = await local.trainer({
  device,
  model: models.modelNamed(flags.model, { classes: images.classes.length, size }),
  modules: 2,
  method: local.dgl(),
  optimizer: optim.sgd({ momentum: 0.9, weightDecay: 1e-4 }),
  schedule: optim.warmupCosine({ base: rate, warmup: 1, epochs: epochs + 1 }),
  batch,
});
trainer.load(weights, { newHead: true }); // all but the head, which starts anew
const before = await trainer.evaluate(images);
const { last } = await trainer.fit(images, { epochs, checkpoint: flags.run });
const percent = (error = NaN) => `${(100 * error).toFixed(1)} %`;
console.log(`test error ${percent(before.error)} with the new head, ${percent(last?.error)} after training`);
