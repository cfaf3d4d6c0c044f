import { formatBytes, formatPercent, formatTime } from "../artifacts/format.ts";
import { writeWhole } from "../base/files.ts";
import * as data from "../data.ts";
import { open } from "../runtime/devices.ts";
import { progress, report, RunFolder, type RunReport } from "../train.ts";
import { type Flags, parseFlags } from "./flags.ts";
import { interruption } from "./interruption.ts";
import { trainerOf } from "./build.ts";
import type { MethodName, Settings } from "./settings.ts";
import { note, noteDevice, print, textTable } from "./terminal.ts";
import { claimFolder, timestamp } from "./run_place.ts";

/** Flags of `demo`: none. */
export const demoFlags = {} as const satisfies Flags;

const SETTINGS = {
  dataset: "shapes",
  model: "resnet8",
  modules: 3,
  batch: 32,
  epochs: 8,
  lr: 0.05,
  seed: 0,
  trainLimit: 4000,
  testLimit: 1000,
} as const;

const METHODS: readonly MethodName[] = ["endToEnd", "greedy", "man+dgl"];

/** `demo`: trains three methods side by side on drawn images and compares them. Returns the exit code. */
export async function demo(args: readonly string[]): Promise<number> {
  parseFlags("demo", demoFlags, args);
  await using place = await claimFolder(`runs/demo-${timestamp()}`);
  const { path } = place;
  await using device = await open();
  noteDevice(device);
  const images = data.shapes({ train: SETTINGS.trainLimit, test: SETTINGS.testLimit });
  using interrupt = interruption();
  const runs: RunReport[] = [];
  const rows: string[][] = [];
  for (const method of METHODS) {
    const settings: Settings = { ...SETTINGS, method };
    note(`\n${method}`);
    using trainer = await trainerOf(settings, device);
    const folder = new RunFolder(`${path}/${method}`, { ...settings });
    const started = performance.now();
    const { last, stopped } = await trainer.fit(images, {
      epochs: settings.epochs,
      observers: [progress(), folder],
      signal: interrupt.signal,
    });
    const seconds = (performance.now() - started) / 1000;
    const { info, lines } = folder;
    if (info !== undefined) runs.push({ info, lines, settings: { ...settings }, seconds });
    const error = last === undefined ? "–" : formatPercent(last.error);
    rows.push([method, error, formatBytes(trainer.memory.method.peakBytes), formatTime(seconds)]);
    if (stopped) break;
  }
  await writeWhole(`${path}/report.html`, report(runs));
  print(`\n${textTable(["method", "test error", "planned peak", "time"], rows)}`);
  print(`\nreport: ${path}/report.html`);
  return interrupt.exitCode;
}
