import { formatBytes, formatError, formatPercent, formatTime } from "../artifacts/format.ts";
import { valuesOf } from "../artifacts/network_values.ts";
import { heldMemory, stalenessFacts } from "../artifacts/facts.ts";
import { holdsEvents } from "../artifacts/tensorboard.ts";
import type { Processes } from "../backends/communicator.ts";
import { LocalgradError } from "../base/errors.ts";
import { residentBytes } from "../data.ts";
import { type EpochRecord, type FitResult, setup, type Trainer, type WayWithinLimit } from "../local.ts";
import type { Device } from "../runtime/arrays.ts";
import { type Checkpoint, loadWeights, progress, readRun, RunFolder, tensorBoard } from "../train.ts";
import { batchStarts } from "../training/feeds/training_feed.ts";
import { unplanned } from "./cut.ts";
import { type AnySet, DATASETS } from "./datasets.ts";
import { type Flags, parseFlags, wholeNumber } from "./flags/flags.ts";
import { interruption } from "./interruption.ts";
import { loadSet, openDevice, refuseTask, scheduleOf, setupOf, trainerOf } from "./build.ts";
import { type Settings, settingsFrom, trainingFlags } from "./settings.ts";
import { metricsOf } from "./flags/metric.ts";
import { placeFlags } from "./flags/place.ts";
import { refuseChange } from "./resume.ts";
import type { Joined } from "../local/processes/join.ts";
import { exchangeOf, firstFirst, joinTeam, teamFlags } from "./team.ts";
import { claimFolder, namedFolder, timestamp } from "./run_place.ts";
import { knowingClasses, storedSettings } from "./stored_settings.ts";
import { note, noteDevice, print } from "./terminal.ts";
import { chosenWithin, describeChoice, type Open, openFrom, refuseOpen } from "./within_limit.ts";

const SAMPLES = 24;

/** The exit code after Ctrl-C. */
const INTERRUPTED = 130;

/** Flags of `train`. */
export const trainFlags = {
  ...trainingFlags,
  ...placeFlags,
  ...teamFlags,
  run: { value: "DIR", help: "folder for metrics, checkpoints and report; default runs/METHOD-TIME" },
  resume: { help: "resume the run in --run DIR, bit for bit" },
  tensorboard: { help: "also write event files for TensorBoard; a resumed run goes on with them" },
  samples: {
    value: "N",
    help: "test images to show in the report with what they are taken for, half of them errors; default 24",
  },
  init: {
    value: "FILE",
    help: "initial weights: a safetensors file, such as from PyTorch, or the index of several",
  },
  "new-head": { help: "with --init: initialise the last layer anew, for classes other than the file's" },
} as const satisfies Flags;

/** The result of a run. */
export interface Outcome extends FitResult {
  readonly folder: RunFolder;
  readonly memory: Trainer["memory"];
  readonly seconds: number;
}

/** `train`: trains a network and saves the run in a folder. Returns the exit code. */
export async function train(args: readonly string[]): Promise<number> {
  const { given, open } = openFrom(parseFlags("train", trainFlags, args));
  if (given.resume && given.init !== undefined) {
    throw new LocalgradError("--init starts a run, --resume continues one; give one of them");
  }
  if (given["new-head"] && given.init === undefined) {
    throw new LocalgradError("--new-head needs --init FILE; without it every head is new");
  }
  const exchange = exchangeOf(given);
  const team = await joinTeam(given);
  const { checkpoint, before } = given.resume ? await lastOf(given.run, team) : {};
  const asked = settingsFrom(given, before);
  if (before !== undefined) refuseChange(before, asked);
  refuseTask(asked);
  const { settings: known, loaded } = await firstFirst(team, () => knowingClasses(asked, given.data));
  const wanted = setupOf(known);
  const { model } = setup({ ...wanted, modules: unplanned(wanted.modules) }); // rejects a wrong setup before anything is loaded
  const weights = given.init === undefined ? undefined : await loadWeights(given.init);
  const loading = { newHead: given["new-head"] === true };
  if (weights !== undefined) valuesOf(model, weights, loading);
  const samples = samplesOf(given.samples, known);
  const isFirst = team.rank === 0; // it keeps the run
  await using device = await openDevice(given, known, team);
  // The data set stays on the device, so its size is part of what a limit allows.
  const load = () => firstFirst(team, () => loadSet(known, given.data));
  const early = loaded ?? (known.memoryLimit === undefined ? undefined : await load());
  const reserve = early === undefined ? 0 : residentBytes(early);
  const { settings, plan } = within(known, before === undefined ? open : NOTHING, device, team, reserve);
  await using place = given.run === undefined && isFirst
    ? await claimFolder(`runs/${settings.method}-${timestamp()}`)
    : namedFolder(given.run ?? "runs");
  const { path } = place;
  const start = given.init === undefined ? {} : { init: given.init, ...loading };
  const folder = new RunFolder(path, { ...settings, ...start, ...startOf(checkpoint) });
  if (checkpoint === undefined && isFirst) await folder.refuseUsed();
  const images = early ?? await load();
  noteDevice(device);
  const memoryLimit = plan ?? settings.memoryLimit; // what was chosen is not searched for again
  using trainer = await trainerOf(settings, device, {
    ...exchange,
    ...(memoryLimit === undefined ? {} : { memoryLimit, reserve }),
  });
  if (checkpoint !== undefined) trainer.restore(checkpoint.snapshot);
  if (weights !== undefined) {
    for (const text of weights.notes) note(text);
    trainer.load(weights, loading);
  }
  describe(settings, images, trainer.partition.description, team);
  if (before !== undefined) {
    const { train: { count } } = images;
    const trainedOn = count - Math.round(count * (settings.validation ?? 0));
    noteSchedule(
      before,
      settings,
      Math.floor(trainer.stepsDone / batchStarts(trainedOn, trainer.batch).length),
    );
  }
  const events = given.tensorboard || given.resume && isFirst && await holdsEvents(path);
  using interrupt = interruption();
  const started = performance.now();
  const result = await trainer.fit(images, {
    epochs: settings.epochs,
    evaluateEvery: settings.evalEvery ?? 1,
    metrics: metricsOf(settings, model.classes),
    ...(settings.validation === undefined ? {} : { validation: settings.validation }),
    ...(settings.saveEvery === undefined ? {} : { saveEvery: settings.saveEvery }),
    ...(settings.earlyStopping === undefined ? {} : { earlyStopping: settings.earlyStopping }),
    samples,
    observers: [progress(), folder, ...events ? [tensorBoard(path)] : []],
    signal: interrupt.signal,
  });
  const outcome = {
    ...result,
    folder,
    memory: trainer.memory,
    seconds: (performance.now() - started) / 1000,
  };
  if (isFirst) summarize(outcome, settings, given.json === true);
  team.leave();
  // The signal may have come to another process alone.
  return result.stopped ? interrupt.exitCode || INTERRUPTED : 0;
}

/** What a resumed run leaves open: it keeps its choice, apart from what changes no bit of the results. */
const NOTHING: Open = { cut: false, accumulate: false };

/** Chooses what is left open within a memory limit, of which the data set takes `reserve` bytes. Of several processes each recomputes to keep to it. */
function within(
  settings: Settings,
  open: Open,
  device: Device,
  { size }: Joined,
  reserve: number,
): { readonly settings: Settings; readonly plan?: WayWithinLimit } {
  const { memoryLimit } = settings;
  if (size > 1) refuseOpen(open);
  if (memoryLimit === undefined || size > 1) return { settings };
  const chosen = chosenWithin({ ...settings, memoryLimit }, open, device.backend.target, reserve);
  note(describeChoice(chosen.plan));
  return chosen;
}

/** Reads the last checkpoint of the run to resume, and its settings. */
async function lastOf(
  run: string | undefined,
  processes: Processes,
): Promise<{ checkpoint: Checkpoint; before: Settings }> {
  if (run === undefined) throw new LocalgradError("--resume needs the folder of the run: --run DIR");
  const checkpoint = await readRun(run, "last", { processes });
  return { checkpoint, before: storedSettings(checkpoint.settings, run) };
}

/** The initial weights of a run, to keep in the settings when it is resumed. */
function startOf(checkpoint: Checkpoint | undefined): { init?: unknown; newHead?: unknown } {
  const { init, newHead } = checkpoint?.settings ?? {};
  return init === undefined ? {} : { init, newHead };
}

/** The number of test images to show in the report; of label maps none. */
function samplesOf(given: string | undefined, { dataset }: Settings): number {
  if (given !== undefined) return wholeNumber("samples", given, 0);
  return DATASETS[dataset].task === undefined ? SAMPLES : 0;
}

/** Prints a note if the learning rates of a resumed run differ from its schedule before, from `epoch` (from 0) on. */
function noteSchedule(before: Settings, now: Settings, epoch: number): void {
  const [then, since] = [before, now].map(({ epochs, scheduleEpochs }) => scheduleEpochs ?? epochs);
  if (then === since || epoch >= now.epochs) return;
  const rate = (settings: Settings, epoch: number) =>
    Number(scheduleOf(settings)(epoch, { step: epoch, stepsPerEpoch: 1 }).toPrecision(3));
  note(
    `the learning rate now decays over ${since} epochs instead of ${then}: it is ${
      rate(now, epoch)
    } in epoch ${epoch + 1}` +
      (epoch === 0 ? "" : `, after ${rate(before, epoch - 1)} in epoch ${epoch}`) +
      `; --schedule-epochs ${then} keeps the old schedule`,
  );
}

function describe(
  { model, method, dataset }: Settings,
  images: AnySet,
  partition: string,
  { size, layout: { data, modules } }: Joined,
): void {
  if (size > 1) {
    const shares = data === 1 ? [] : [`${data} shares of each batch`];
    const runs = modules === 1 ? [] : [`${modules} runs of modules`];
    note(`${size} processes: ${[...shares, ...runs].join(", each in ")}`);
  }
  note(
    `training ${model} with ${method}: ${partition}; ` +
      `${dataset}: ${images.train.count} training images, ${images.test?.count ?? 0} test images`,
  );
}

/** What was measured in the last epoch; nothing if none was finished. */
function lastEpoch({ lines }: RunFolder): Partial<Pick<EpochRecord, "held" | "staleness">> {
  const last = lines.findLast((line) => line.kind === "epoch");
  return last?.kind === "epoch" ? last : {};
}

function summarize(outcome: Outcome, settings: Settings, json: boolean): void {
  const {
    last,
    bestError,
    bestMeanIoU,
    stopped,
    stoppedEarly,
    folder,
    memory: { method, endToEnd },
    seconds,
  } = outcome;
  const on = settings.validation === undefined ? "test" : "validation";
  const { held, staleness } = lastEpoch(folder);
  if (json) {
    print(JSON.stringify({
      run: folder.path,
      method: settings.method,
      epochs: settings.epochs,
      stopped,
      stoppedEarly,
      [`${on}Error`]: last?.error,
      [`${on}Loss`]: last?.loss,
      meanIoU: last?.meanIoU,
      bestError,
      bestMeanIoU,
      devices: folder.info?.devices,
      plannedPeakBytes: method.peakBytes,
      endToEndPeakBytes: endToEnd.peakBytes,
      held,
      staleness,
      seconds,
    }));
    return;
  }
  if (stopped) note(`stopped and saved; resume with: deno task train --run ${folder.path} --resume`);
  if (on === "validation" && last !== undefined) {
    note(`the test images are unseen; evaluate on them with: deno task eval --run ${folder.path}`);
  }
  if (stoppedEarly) {
    note(
      `stopped early: ${settings.earlyStopping?.patience} evaluations without an improvement; resume with a larger --patience`,
    );
  }
  if (!stopped && !stoppedEarly && last === undefined) {
    note(`the run has finished its ${settings.epochs} epochs; add more with --epochs`);
  }
  if (last !== undefined) print(`${`${on} error`.padEnd(18)}${formatError(last.error)}`);
  if (last?.meanIoU !== undefined) print(`mean IoU          ${formatPercent(last.meanIoU)}`);
  if (bestMeanIoU !== undefined) print(`highest           ${formatPercent(bestMeanIoU)}`);
  else if (bestError !== undefined) print(`lowest            ${formatError(bestError)}`);
  print(
    `planned peak      ${formatBytes(method.peakBytes)} (end to end ${formatBytes(endToEnd.peakBytes)})`,
  );
  const measured = [...heldMemory(held), ...stalenessFacts(staleness)];
  for (const [name, value] of measured) print(`${name.padEnd(18)}${value}`);
  print(`time              ${formatTime(seconds)}`);
  print(`report            ${folder.path}/report.html`);
}
