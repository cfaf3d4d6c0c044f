import { at } from "../../base/at.ts";
import { type ImageDataset, type ImagePart, limitImages } from "../../data.ts";
import type { Device } from "../../runtime/arrays.ts";
import { trainerOf } from "../build.ts";
import type { Timing } from "./kept_results.ts";
import type { Settings } from "../settings.ts";

/** Steps of an epoch that is timed, and the number of epochs; the first warms up. */
const STEPS = 12, EPOCHS = 4;

/** Times the training steps of a run by a few short epochs on some of its images. Nothing else should be running. */
export async function timingOf(
  settings: Settings,
  images: ImageDataset<ImagePart>,
  device: Device,
): Promise<Timing> {
  const { batch } = settings;
  const few = limitImages(images, { train: STEPS * batch, test: batch });
  using trainer = await trainerOf(settings, device);
  const speeds: number[] = [];
  await trainer.fit(few, {
    epochs: EPOCHS,
    metrics: [],
    observers: [{ epoch: ({ imagesPerSecond }) => void speeds.push(imagesPerSecond) }],
  });
  const sorted = speeds.slice(1).toSorted((a, b) => a - b);
  return {
    secondsPerStep: Number((batch / at(sorted, sorted.length >> 1)).toPrecision(4)),
    steps: Math.ceil(few.train.count / batch) * (EPOCHS - 1),
    device: device.backend.description.replaceAll(/ \([^)]*\)/g, ""), // without the path of a library
  };
}
