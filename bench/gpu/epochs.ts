/**
 * Epochs of CIFAR-10 by MAN, as many as there is time for: `epochs.ts SECONDS full|small [FILE]` trains on the first
 * 9,000 images of one binary batch file and evaluates on its other 1,000; without a file, on as many drawn shapes.
 * Prints a line of JSON for each epoch.
 */
import { data, local, models, optim } from "../../mod.ts";
import { interleave } from "../../src/data/planes.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { onCard, say } from "./opener.ts";

const SIDE = 32, PIXELS = 3 * SIDE * SIDE, RECORD = 1 + PIXELS, TEST = 1000;

/** A batch file of CIFAR-10: records of a label and three planes. */
async function batchFile(path: string): Promise<data.ImageDataset> {
  const bytes = await Deno.readFile(path);
  const count = bytes.length / RECORD;
  const images = new Uint8Array(count * PIXELS), labels = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    labels[i] = bytes[i * RECORD]!;
    const planes = bytes.subarray(i * RECORD + 1, (i + 1) * RECORD);
    interleave(planes, images.subarray(i * PIXELS, (i + 1) * PIXELS), SIDE, "rows");
  }
  const part = (from: number, to: number) => ({
    images: images.subarray(from * PIXELS, to * PIXELS),
    labels: labels.subarray(from, to),
    count: to - from,
  });
  return {
    name: "a tenth of CIFAR-10",
    classes: Array.from({ length: 10 }, (_, i) => `class ${i}`),
    ...{ height: SIDE, width: SIDE, channels: 3 },
    mean: [125.3 / 255, 123.0 / 255, 113.9 / 255],
    std: [63.0 / 255, 62.1 / 255, 66.7 / 255],
    train: part(0, count - TEST),
    test: part(count - TEST, count),
  };
}

/** How to train. */
interface TrainOptions {
  /** True for a small network. */
  readonly small: boolean;
  readonly epochs: number;
  readonly signal?: AbortSignal;
  /** Prints nothing. */
  readonly quiet?: boolean;
}

/** Trains ResNet-32 in MAN's published cut, or a small network, until the signal. */
export async function train(
  device: Device,
  dataset: data.ImageDataset,
  { small, epochs, signal, quiet }: TrainOptions,
): Promise<void> {
  using t = await local.trainer({
    device,
    model: models.modelNamed(small ? "resnet8" : "resnet32", { classes: 10 }),
    modules: small ? 3 : 16,
    method: local.man(local.dgl()),
    optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
    schedule: optim.constant(0.05),
    batch: small ? 8 : 128,
  });
  await t.fit(dataset, {
    epochs,
    ...(signal === undefined ? {} : { signal }),
    observers: [{
      epoch: ({ epoch, testError, imagesPerSecond }) =>
        quiet ? undefined : say({ name: `epoch ${epoch}`, testError, imagesPerSecond }),
    }],
  });
}

/** Drawn images, as many as a batch file has where `small` is false. */
export function drawn(small: boolean): data.ImageDataset {
  return data.shapes(small ? { train: 16, test: 8 } : { train: 9000, test: TEST });
}

if (import.meta.main) {
  const [seconds = "60", size, file] = Deno.args;
  const small = size === "small";
  const dataset = file === undefined ? drawn(small) : await batchFile(file);
  await using device = new Device(await onCard({}));
  const signal = AbortSignal.timeout(1000 * Number(seconds));
  await train(device, dataset, { small, epochs: small ? 1 : 1000, signal });
}
