import { formatBytes, formatPercent, formatTime } from "../artifacts/format.ts";
import { valuesOf } from "../artifacts/network_values.ts";
import { heldMemory } from "../artifacts/report.ts";
import { abridged } from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import type { ImageDataset, ImagePart } from "../data.ts";
import { type FitResult, type HeldMemory, setup } from "../local.ts";
import { type Checkpoint, loadWeights, progress, readRun, RunFolder } from "../train.ts";
import { batchStarts } from "../training/fit.ts";
import { unplanned } from "./cut.ts";
import { type Flags, parseFlags } from "./flags.ts";
import { interruption } from "./interruption.ts";
import { loadImages, openDevice, scheduleOf, setupOf, trainerOf } from "./build.ts";
import { placeFlags, type Settings, settingsFrom, trainingFlags } from "./settings.ts";
import { claimFolder, namedFolder, timestamp } from "./run_place.ts";
import { knowingClasses, storedSettings } from "./stored_settings.ts";
import { note } from "./terminal.ts";

/** Flags of `train`. */
export const trainFlags = {
  ...trainingFlags,
  ...placeFlags,
  run: { value: "DIR", help: "folder for metrics, checkpoints and report; default runs/METHOD-TIME" },
  resume: { help: "go on with the run in --run DIR, bit for bit" },
  init: {
    value: "FILE",
    help: "start the network from a safetensors file, such as PyTorch's, or the index of several",
  },
  "new-head": { help: "with --init: draw a new head, for other classes than the file's" },
} as const satisfies Flags;

/** What came of a run. */
export interface Outcome extends FitResult {
  readonly folder: RunFolder;
  readonly seconds: number;
}

/** `train`: trains a network and keeps the run in a folder. Gives the exit code. */
export async function train(args: readonly string[]): Promise<number> {
  const given = parseFlags("train", trainFlags, args);
  if (given.resume && given.run === undefined) {
    throw new LocalgradError("--resume goes on with a run: name its folder with --run DIR");
  }
  if (given.resume && given.init !== undefined) {
    throw new LocalgradError("--init starts a run, --resume goes on with one; give one of them");
  }
  if (given["new-head"] && given.init === undefined) {
    throw new LocalgradError("--new-head goes with --init FILE; without it every head is drawn anyway");
  }
  const checkpoint = given.resume ? await readRun(given.run!, "last") : undefined;
  const before = checkpoint && storedSettings(checkpoint.settings, given.run!);
  const asked = settingsFrom(given, before);
  if (before !== undefined) refuseChange(before, asked);
  const { settings, loaded } = await knowingClasses(asked, given.data);
  const wanted = setupOf(settings);
  const { model } = setup({ ...wanted, modules: unplanned(wanted.modules) }); // what cannot be trained is refused before anything is loaded
  const weights = given.init === undefined ? undefined : await loadWeights(given.init);
  const loading = { newHead: given["new-head"] === true };
  if (weights !== undefined) valuesOf(model, weights, loading);
  await using place = given.run === undefined
    ? await claimFolder(`runs/${settings.method}-${timestamp()}`)
    : namedFolder(given.run);
  const { path } = place;
  const start = given.init === undefined ? {} : { init: given.init, ...loading };
  const folder = new RunFolder(path, { ...settings, ...start, ...startOf(checkpoint) });
  if (checkpoint === undefined) await folder.refuseUsed();
  const images = loaded ?? await loadImages(settings, given.data);
  await using device = await openDevice(given, settings);
  note(`device ${device.choice}`);
  using trainer = await trainerOf(settings, device);
  if (checkpoint !== undefined) trainer.restore(checkpoint.snapshot);
  if (weights !== undefined) {
    for (const text of weights.notes) note(text);
    trainer.load(weights, loading);
  }
  describe(settings, images, trainer.partition.description);
  if (before !== undefined) {
    tellOfSchedule(
      before,
      settings,
      Math.floor(trainer.stepsDone / batchStarts(images.train.count, trainer.batch).length),
    );
  }
  using interrupt = interruption();
  const started = performance.now();
  const result = await trainer.fit(images, {
    epochs: settings.epochs,
    evaluateEvery: settings.evalEvery ?? 1,
    ...(settings.saveEvery === undefined ? {} : { saveEvery: settings.saveEvery }),
    observers: [progress(), folder],
    signal: interrupt.signal,
  });
  summarize(
    { ...result, folder, seconds: (performance.now() - started) / 1000 },
    settings,
    given.json === true,
  );
  return result.stopped ? interrupt.exitCode : 0;
}

/** What a run's network was started from, to be kept where the run goes on. */
function startOf(checkpoint: Checkpoint | undefined): { init?: unknown; newHead?: unknown } {
  const { init, newHead } = checkpoint?.settings ?? {};
  return init === undefined ? {} : { init, newHead };
}

/** What may change where a run goes on: how long it is, how often it is judged and saved, and where the data are. */
const CHANGEABLE: readonly (keyof Settings)[] = [
  "epochs",
  "evalEvery",
  "saveEvery",
  "scheduleEpochs",
  "data",
];

/** Says where the rest of a run, from `epoch` on (from 0), has another learning rate than it would have had. */
function tellOfSchedule(before: Settings, now: Settings, epoch: number): void {
  const [then, since] = [before, now].map(({ epochs, scheduleEpochs }) => scheduleEpochs ?? epochs);
  if (then === since || epoch >= now.epochs) return;
  const rate = (settings: Settings, epoch: number) => Number(scheduleOf(settings)(epoch).toPrecision(3));
  note(
    `the learning rate falls over ${since} epochs now, not over ${then}: it is ${rate(now, epoch)} in epoch ${
      epoch + 1
    }` +
      (epoch === 0 ? "" : `, after ${rate(before, epoch - 1)} in epoch ${epoch}`) +
      `; --schedule-epochs ${then} keeps it as it was`,
  );
}

/** A run that goes on must be the run it was. */
function refuseChange(before: Settings, now: Settings): void {
  for (const name of Object.keys(now) as (keyof Settings)[]) {
    if (CHANGEABLE.includes(name)) continue;
    if (JSON.stringify(before[name]) !== JSON.stringify(now[name])) {
      throw new LocalgradError(
        `the run was started with ${name} ${abridged(JSON.stringify(before[name]) ?? "left out")}, not ${
          JSON.stringify(now[name])
        }; leave the flag out to go on with it, or start another run`,
      );
    }
  }
}

function describe(
  { model, method, dataset }: Settings,
  images: ImageDataset<ImagePart>,
  partition: string,
): void {
  note(
    `training ${model} by ${method}: ${partition}; ` +
      `${images.train.count} images of ${dataset} to train on, ${images.test.count} to test on`,
  );
}

/** What the device held after the last epoch; undefined where none was finished. */
function heldAtEnd({ lines }: RunFolder): HeldMemory | undefined {
  const last = lines.findLast((line) => line.kind === "epoch");
  return last?.kind === "epoch" ? last.held : undefined;
}

function summarize(outcome: Outcome, settings: Settings, json: boolean): void {
  const { last, bestError, stopped, folder, seconds } = outcome;
  const { method, endToEnd } = folder.info!.memory;
  if (json) {
    console.log(JSON.stringify({
      run: folder.path,
      method: settings.method,
      epochs: settings.epochs,
      stopped,
      testError: last?.error,
      testLoss: last?.loss,
      bestError,
      plannedPeakBytes: method.peakBytes,
      endToEndPeakBytes: endToEnd.peakBytes,
      held: heldAtEnd(folder),
      seconds,
    }));
    return;
  }
  if (stopped) note(`stopped and saved; go on with: deno task train --run ${folder.path} --resume`);
  if (!stopped && last === undefined) {
    note(`the run has done all its ${settings.epochs} epochs; ask for more with --epochs`);
  }
  if (last !== undefined) console.log(`test error        ${formatPercent(last.error)}`);
  if (bestError !== undefined) console.log(`lowest            ${formatPercent(bestError)}`);
  console.log(
    `planned peak      ${formatBytes(method.peakBytes)} (end to end ${formatBytes(endToEnd.peakBytes)})`,
  );
  for (const [name, value] of heldMemory(heldAtEnd(folder))) console.log(`${name.padEnd(18)}${value}`);
  console.log(`time              ${formatTime(seconds)}`);
  console.log(`report            ${folder.path}/report.html`);
}
