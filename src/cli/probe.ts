import { resolve } from "node:path";
import { formatPercent } from "../artifacts/format.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { makeFolder, refuseFile, writeWhole } from "../base/files.ts";
import { partition } from "../local/partition/partition.ts";
import { splitNames } from "../local/partition/published.ts";
import { readRun } from "../train.ts";
import { type Probe, probe } from "../training/probe/probe.ts";
import { cutFlags, cutFrom, modulesOf } from "./cut.ts";
import { type Flags, oneOf, parseFlags, wholeNumber } from "./flags/flags.ts";
import { interruption } from "./interruption.ts";
import { loadImages, openDevice, setupOf, trainerOf } from "./build.ts";
import { plots } from "./on_demand.ts";
import { type Settings, trainingFlags } from "./settings.ts";
import { placeFlags, precisionFrom } from "./flags/place.ts";
import { storedSettings, withClasses } from "./stored_settings.ts";
import { note, noteDevice, print, textTable } from "./terminal.ts";

const { "train-limit": trainLimit, "test-limit": testLimit } = trainingFlags;

/** Flags of `probe`. */
export const probeFlags = {
  run: { value: "DIR,…", help: "folders of the runs to probe, drawn in one plot" },
  checkpoint: { value: "best|last", help: "checkpoint of the runs; default best" },
  after: { ...cutFlags.after, help: "probe after these blocks and the last instead, such as layer1.0" },
  modules: { ...cutFlags.modules, help: "probe after each of K modules; default the cut of the run" },
  split: { value: splitNames.join("|"), help: "a published split into K modules; see train" },
  epochs: { value: "N", help: "epochs of each classifier; default 20" },
  "train-limit": { ...trainLimit, help: "use the first N training images; default those of the run" },
  "test-limit": { ...testLimit, help: "use the first N test images; default those of the run" },
  out: { value: "DIR", help: "folder for probe.json and probe.svg; default that of the first run" },
  ...placeFlags,
} as const satisfies Flags;

/** The probes of a run. */
interface Probed {
  readonly run: string;
  readonly model: string;
  readonly method: string;
  readonly step: number;
  /** The network's own test error, as a fraction. */
  readonly testError: number;
  readonly probes: readonly Probe[];
}

/**
 * `probe`: trains a linear classifier on the frozen output of each module of runs, and compares them. Returns the exit
 * code.
 */
export async function probeRuns(args: readonly string[]): Promise<number> {
  const given = parseFlags("probe", probeFlags, args);
  const folders = given.run?.split(",").filter((name) => name !== "") ?? [];
  if (folders.length === 0) throw new LocalgradError("probe needs the folders of runs: --run DIR,…");
  const kind = oneOf("checkpoint", given.checkpoint ?? "best", ["best", "last"]);
  const epochs = wholeNumber("epochs", given.epochs ?? "20", 1);
  const limits = {
    ...(given["train-limit"] === undefined
      ? {}
      : { trainLimit: wholeNumber("train-limit", given["train-limit"], 1) }),
    ...(given["test-limit"] === undefined
      ? {}
      : { testLimit: wholeNumber("test-limit", given["test-limit"], 1) }),
  };
  if (given.split !== undefined) oneOf("split", given.split, splitNames);
  const asked = cutFrom(given);
  const cut = asked === undefined ? undefined : modulesOf(asked);
  const runs = await Promise.all(
    folders.map(async (run) => {
      const { snapshot, settings } = await readRun(run, kind);
      return {
        run,
        snapshot,
        settings: { ...storedSettings(settings, run), ...limits, ...precisionFrom(given) },
      };
    }),
  );
  for (const { settings } of runs) if (cut !== undefined) partition(setupOf(settings).model, cut); // rejects a wrong cut early
  const first = at(runs, 0);
  const out = given.out ?? first.run;
  await refuseFile(out);
  await using device = await openDevice(given, precisionFrom(given));
  noteDevice(device);
  using interrupt = interruption("stopping …");
  const results: Probed[] = [];
  for (const { run, snapshot, settings } of runs) {
    note(`\nprobing ${run}: ${settings.model}, ${settings.method}`);
    const images = await loadImages(settings, given.data);
    withClasses(settings, images); // rejects classes other than the run's
    using trainer = await trainerOf(settings, device);
    trainer.restore(snapshot);
    const probes = await probe(trainer, images, {
      epochs,
      seed: settings.seed,
      signal: interrupt.signal,
      ...(cut === undefined ? {} : { modules: cut }),
      onProbe: ({ name, testAccuracy }) => note(`${name}: ${formatPercent(testAccuracy)}`),
    }).catch((error): undefined => {
      if (!interrupt.signal.aborted) throw error;
      return undefined;
    });
    if (probes === undefined) {
      note("stopped; nothing was written");
      return interrupt.exitCode;
    }
    const { error } = await trainer.evaluate(images);
    const { model, method } = settings;
    results.push({ run, model, method, step: snapshot.step, testError: error, probes });
  }
  await write(out, kind, epochs, results, first.settings);
  printResults(results, out, given.json === true);
  return 0;
}

async function write(
  out: string,
  checkpoint: string,
  epochs: number,
  results: readonly Probed[],
  { dataset }: Settings,
): Promise<void> {
  const { fractionsChart } = await plots();
  const svg = await fractionsChart(
    results.map(({ run, model, method, probes }) => ({
      name: `${method}, ${model} (${run})`,
      points: probes.map(({ index, testAccuracy }) => [index + 1, testAccuracy] as const),
    })),
    { title: `Linear probes on ${dataset}`, x: "module", y: "test accuracy of a linear classifier" },
  );
  await makeFolder(out);
  await writeWhole(`${out}/probe.svg`, svg);
  const text = JSON.stringify({ checkpoint, epochs, runs: results }, undefined, 2);
  await writeWhole(`${out}/probe.json`, text + "\n");
}

function printResults(results: readonly Probed[], out: string, json: boolean): void {
  if (json) {
    print(JSON.stringify(results));
    return;
  }
  for (const { run, testError, probes } of results) {
    print(`\n${run}: the network's own test accuracy is ${formatPercent(1 - testError)}`);
    const rows = probes.map(({ index, name, channels, trainAccuracy, testAccuracy }) => [
      `${index + 1} ${name}`,
      String(channels),
      formatPercent(trainAccuracy),
      formatPercent(testAccuracy),
    ]);
    print(textTable(["module", "channels", "training accuracy", "test accuracy"], rows));
  }
  print(`\nplot: ${resolve(out)}/probe.svg`);
}
