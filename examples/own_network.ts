/**
 * A network of one's own, made of the library's layers and one that is not among them, trained in local modules and
 * exported for PyTorch.
 *
 *     deno run --allow-read=. --allow-write=. examples/own_network.ts
 *
 * Takes `--images`, `--epochs` and `--device`.
 */

// A full specifier, because scripts run by URL have no import map.
// deno-lint-ignore no-import-prefix
import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import { data, devices, local, type models, nn, optim, train } from "../mod.ts";

const flags = parseArgs(Deno.args, {
  string: ["images", "epochs", "device"],
  default: { images: "2000", epochs: "4", device: "auto" },
  unknown(flag: string) {
    console.error(`there is no ${flag}; choose among --images --epochs --device`);
    Deno.exit(2);
  },
});
const epochs = Number(flags.epochs);

/** Scales each channel by a learned factor. */
function scale(channels: number): nn.Layer {
  return nn.layer({
    params: { weight: nn.constantInitial(1, [channels]) },
    apply: ({ weight }, state, x) => ({ y: x.mul(weight.cast(x.dtype)), state }),
  });
}

/** A block: its parameters are `features.N.conv.weight` and so on, as in PyTorch. */
function block(inputs: number, out: number): nn.Layer {
  return nn.sequential({
    conv: nn.conv({ in: inputs, out, padding: 1 }),
    norm: nn.batchNorm({ channels: out }),
    scale: scale(out),
    relu: nn.relu(),
    pool: nn.maxPooling({ window: 2 }),
  });
}

/** The network can be cut after any of its blocks. */
function ownNetwork(classes: number): models.Model {
  const widths = [3, 16, 32, 64];
  return {
    name: "own",
    input: { height: 32, width: 32, channels: 3 },
    classes,
    stem: {},
    blocks: widths.slice(1).map((out, i) => ({ name: `features.${i}`, layer: block(widths[i] ?? 3, out) })),
    head: { flatten: nn.flatten(), classifier: nn.linear({ in: 4 * 4 * 64, out: classes }) },
  };
}

const images = data.shapes({ train: Number(flags.images), test: 500 });
await using device = await devices.open(flags.device as devices.DeviceName);
using trainer = await local.trainer({
  device,
  model: ownNetwork(images.classes.length),
  modules: 3,
  method: local.man(local.dgl()),
  optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
  schedule: optim.warmupCosine({ base: 0.05, warmup: 1, epochs }),
  batch: 32,
});
const { last } = await trainer.fit(images, { epochs });
await train.saveWeights("own.safetensors", await trainer.snapshot());
const { best } = await trainer.predict(images.test.images.subarray(0, 32 * 32 * 3));
console.log(`test error ${(100 * (last?.error ?? 1)).toFixed(1)} %; the first test image: ${best.name}`);
console.log("own.safetensors has the network");
