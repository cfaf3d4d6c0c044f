import { open } from "../devices.ts";
import { LocalgradError } from "../errors.ts";
import { formatPercent } from "../train/format.ts";
import { readRun } from "../train/train.ts";
import { type Flags, oneOf, parseFlags } from "./flags.ts";
import { deviceName, loadImages, openOptions, placeFlags, storedSettings, trainerOf } from "./settings.ts";
import { note } from "./terminal.ts";

/** Flags of `eval`. */
export const evaluateFlags = {
  run: { value: "DIR", help: "folder of the run to judge" },
  checkpoint: { value: "best|last", help: "which of its checkpoints; default best" },
  ...placeFlags,
} as const satisfies Flags;

/** `eval`: judges a run's network on the test images it was judged by while training. */
export async function evaluate(args: readonly string[]): Promise<void> {
  const given = parseFlags("eval", evaluateFlags, args);
  if (given.run === undefined) throw new LocalgradError("eval needs the folder of a run: --run DIR");
  const kind = oneOf("checkpoint", given.checkpoint ?? "best", ["best", "last"]);
  const { snapshot, settings: stored } = await readRun(given.run, kind);
  const settings = storedSettings(stored, given.run);
  const images = await loadImages(settings, given.data);
  await using device = await open(deviceName(given), openOptions(given));
  note(`device ${device.choice}`);
  using trainer = await trainerOf(settings, device);
  trainer.restore(snapshot);
  const { error, loss, images: count } = await trainer.evaluate(images);
  if (given.json) {
    console.log(JSON.stringify({
      run: given.run,
      checkpoint: kind,
      step: snapshot.step,
      testError: error,
      testLoss: loss,
      images: count,
    }));
  } else {
    console.log(
      `test error  ${formatPercent(error)} of ${count} images (${kind} checkpoint, step ${snapshot.step})`,
    );
    console.log(`test loss   ${loss.toFixed(4)}`);
  }
}
