/**
 * A custom local learning method on one page. Here each class has a centre in a module's feature space, learned with
 * the module, and an image is assigned to the class with the nearest centre. A method only defines the auxiliary
 * network of a boundary: its parameters, its state, and a loss of the features.
 *
 *     deno run examples/own_method.ts
 *
 * Takes `--epochs`, `--images`, `--batch`, `--device auto|cpu|webgpu|reference`, and `--man`, which puts MAN's blocks
 * in front of this method.
 */

// A full specifier, because scripts run by URL have no import map.
// deno-lint-ignore no-import-prefix
import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import { data, devices, local, models, nn, optim, type Tensor } from "../mod.ts";

const flags = parseArgs(Deno.args, {
  string: ["epochs", "images", "batch", "device"],
  boolean: ["man"],
  default: { epochs: "4", images: "2000", batch: "32", device: "auto" },
  unknown(flag: string) {
    console.error(`there is no ${flag}; choose among --epochs --images --batch --device --man`);
    Deno.exit(2);
  },
});

const epochs = Number(flags.epochs);

/** Cross-entropy of the negative squared distances from features to a learned centre of each class. */
function centres(): local.Method {
  return {
    name: "centres",
    options: {},
    auxiliary: ({ features: [, , channels], model }) => ({
      params: { centres: nn.normalInitial(1, [model.classes, channels]) },
      state: {},
      loss(params, state, h, batch) {
        const centres = params["centres"] as Tensor;
        const means = h.mean([1, 2]).cast("f32"); // [batch, channels]; features may be bf16
        // ‖m − c‖² = ‖m‖² − 2 m·c + ‖c‖², and ‖m‖² is the same for every class of an image.
        const products = means.matmul(centres, { transposeB: true });
        const logits = products.mul(2).sub(centres.square().sum(1)); // [batch, classes]
        return { loss: local.crossEntropy(logits, batch.labels), state };
      },
    }),
  };
}

await using device = await devices.open(flags.device as devices.DeviceName);
console.log(device.choice);
const images = data.shapes({ train: Number(flags.images), test: 500 });
using trainer = await local.trainer({
  device,
  model: models.resnet8({ classes: images.classes.length }),
  modules: 3,
  method: flags.man ? local.man(centres()) : centres(),
  optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
  schedule: optim.warmupCosine({ base: 0.05, warmup: 1, epochs }),
  batch: Number(flags.batch),
});

let losses: (readonly number[])[] = []; // for each step of the epoch, the loss of each module
const printer: local.Observer = {
  step: (record) => void losses.push(record.losses),
  epoch({ epoch, testError }) {
    const means = losses[0].map((_, module) =>
      losses.reduce((sum, step) => sum + step[module], 0) / losses.length
    );
    const text = means.map((mean) => mean.toFixed(4)).join(" ");
    console.log(`epoch ${epoch}: losses ${text}, test error ${(100 * testError).toFixed(1)} %`);
    losses = [];
  },
};
await trainer.fit(images, { epochs, observers: [printer] });
