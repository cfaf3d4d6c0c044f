/**
 * A label for each pixel: a small DeepLab of one's own, or a network of the library, cut into two modules and trained by
 * InfoPro on scenes that are drawn. Prints the mean IoU beside that of calling everything background, by how many standard
 * errors the accuracy of pixels is above that, and the labels of an image. Started again, it resumes its run.
 *
 *     deno run --allow-read=. --allow-write=. examples/segmentation.ts
 *
 * Takes `--model`, such as deeplabv3_resnet50, `--images`, `--epochs`, `--size`, `--batch`, `--device` and `--run`.
 */

// A full specifier, because scripts run by URL have no import map.
// deno-lint-ignore no-import-prefix
import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import { data, devices, local, models, nn, optim, type Tensor } from "../mod.ts";

const flags = parseArgs(Deno.args, {
  string: ["model", "images", "epochs", "size", "batch", "device", "run"],
  default: { images: "256", epochs: "8", size: "48", batch: "16", device: "auto", run: "runs/segmentation" },
  unknown(flag: string) {
    console.error(
      `there is no ${flag}; choose among --model --images --epochs --size --batch --device --run`,
    );
    Deno.exit(2);
  },
});
const [epochs, size, batch] = [Number(flags.epochs), Number(flags.size), Number(flags.batch)];

/** A DeepLab of 0.1 million parameters: features of a quarter of the image's size, the last blocks dilated. */
function smallDeeplab(classes: number): models.Model {
  const stages = [
    { in: 16, width: 16, out: 32 },
    { in: 32, width: 16, out: 64, stride: 2 },
    { in: 64, width: 16, out: 64, dilation: 2 },
    { in: 64, width: 16, out: 64, dilation: 4 },
  ];
  return {
    name: "smallDeeplab",
    input: { height: size, width: size, channels: 3 },
    classes,
    task: "segmentation",
    stem: {
      conv: nn.conv({ in: 3, out: 16, strides: 2, padding: 1 }),
      bn: nn.batchNorm({ channels: 16 }),
      relu: nn.relu(),
    },
    blocks: stages.map((spec, i) => ({ name: `layers.${i}`, layer: nn.bottleneckBlock(spec) })),
    head: {
      pyramid: nn.atrousPyramid({ in: 64, out: 32, rates: [2, 4, 6], dropout: 0.1 }),
      logits: nn.conv({ in: 32, out: classes, window: 1, bias: true, std: 0.1 }),
      upsampling: nn.upsampling({ size }),
    },
  };
}

const images = data.scenes({ train: Number(flags.images), test: 64, size });
const classes = images.classes.length;

/** The accuracy of an image's pixels above the share of the first class, which is the background. */
function gain(logits: Tensor, labels: Tensor): Tensor {
  const counted = labels.lt(classes).cast("f32");
  const right = logits.argmax(3).eq(labels).cast("f32").mul(counted);
  return right.sub(labels.eq(0).cast("f32")).sum([1, 2]).div(counted.sum([1, 2]).maximum(1));
}
const metrics = [
  { name: "gain", each: gain },
  { name: "squared", each: (logits: Tensor, labels: Tensor) => gain(logits, labels).square() },
  "perClass",
] as const;

const { model: name } = flags;
const model = name === undefined ? smallDeeplab(classes) : models.modelNamed(name, { classes, size });

await using device = await devices.open(flags.device as devices.DeviceName);
using trainer = await local.trainer({
  device,
  model,
  modules: name === "deeplabv3_resnet101" ? { published: "infopro*", modules: 2 } : 2,
  method: local.infopro(), // with the weights published for Cityscapes
  optimizer: optim.sgd({ momentum: 0.9, weightDecay: 5e-4 }),
  schedule: optim.warmupCosine({ base: 0.02, warmup: 1, epochs }),
  batch,
});
const { memory: { method, endToEnd } } = trainer;
console.log(
  `planned peak of a step: ${Math.round(method.peakBytes / 2 ** 20)} MiB, end to end ${
    Math.round(endToEnd.peakBytes / 2 ** 20)
  } MiB`,
);
await trainer.fit(images, { epochs, checkpoint: flags.run, resume: true });

const { meanIoU = 0, error, perClass = [], metrics: own = {}, images: count } = await trainer.evaluate(
  images,
  { metrics },
);
const pixels = perClass.reduce((sum, { images }) => sum + images, 0);
const share = (perClass[0]?.images ?? 0) / pixels;
const present = perClass.filter(({ iou }) => iou !== undefined).length;
const { gain: mean = 0, squared = 0 } = own;
const deviation = Math.sqrt(Math.max(0, squared - mean ** 2) / (count - 1));
const errors = mean === 0 ? 0 : mean / deviation; // all is called background: no gain in any image
console.log(
  `mean IoU ${(100 * meanIoU).toFixed(2)} %, of the background alone ${
    (100 * share / present).toFixed(2)
  } %; ` +
    `pixels ${(100 * (1 - error)).toFixed(2)} %, ${
      errors.toFixed(1)
    } standard errors above the background's share`,
);
const [first] = await trainer.segment([images.train.images.subarray(0, size * size * 3)]);
if (first !== undefined) {
  console.log(
    Array.from({ length: 16 }, (_, y) =>
      Array.from({ length: 32 }, (_, x) => {
        const [row, column] = [Math.floor(y * size / 16), Math.floor(x * size / 32)];
        return ".o#%@"[first.labels[row * size + column] ?? 0] ?? "?";
      }).join("")).join("\n"),
  );
}
