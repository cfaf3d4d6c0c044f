/**
 * Kills runs in one process and in several at random moments, resumes them in the next layout, and compares what they
 * come to with a run that was never killed.
 */

import { assert, assertEquals } from "@std/assert";
import { readMetrics, readRun } from "../../src/train.ts";
import { type Implementation, implementations } from "../mpi/start.ts";
import { exists, outcome } from "../reproduction_outcome.ts";
import { launch, type Layout, type Plan, recorded, STEPS_PER_EPOCH } from "./launched.ts";
import { generator, parts } from "./torture.ts";

/** Runs that are resumed in layouts in turn. */
export interface Series {
  readonly name: string;
  readonly layouts: readonly Layout[];
  /** The layout of the run that is never killed, whose bytes the others have; undefined if the layouts differ in rounding. */
  readonly undisturbed?: Layout;
}

const ALONE = { name: "alone", processes: 1 };
const TWO = { name: "modules", processes: 2 };
const FOUR = { name: "modules", processes: 4 };
const BOTH = { name: "2x2", processes: 4 };

/**
 * Pipelines have the bits of one process. Shares of a batch have other statistics in batch norm, so they are compared with
 * themselves; among all layouts only the count of steps and the wholeness of checkpoints can be the same.
 */
export const ALL: readonly Series[] = [
  { name: "pipelines", layouts: [ALONE, TWO, FOUR], undisturbed: ALONE },
  { name: "pipelines that share batches", layouts: [BOTH], undisturbed: BOTH },
  { name: "all layouts", layouts: [TWO, BOTH, FOUR, ALONE] },
];

/** What a kill hit. */
export interface Kill {
  readonly series: string;
  readonly layout: string;
  readonly processes: number;
  readonly mpi: Implementation["name"] | undefined;
  readonly when: Plan["when"];
  readonly victims: Plan["victims"];
  /** The step of the last checkpoint after it; undefined before the first. */
  readonly checkpoint: number | undefined;
  /** Steps in the metrics after it. */
  readonly steps: number;
  /** True if the steps of an epoch were done, but not their evaluation. */
  readonly evaluating: boolean;
  /** True if a file was being written. */
  readonly saving: boolean;
  /** Seconds until all processes and the launcher had ended. */
  readonly seconds: number;
}

/** What came of a series. */
export interface Result {
  readonly series: string;
  readonly runs: number;
  readonly kills: readonly Kill[];
  /** SHA-256 of the last checkpoint that every run ended with; undefined if only completeness was compared. */
  readonly sha256?: string;
}

/** What is trained: three epochs that save after every step. */
export const FLAGS = [
  ...["--model", "resnet20", "--modules", "5", "--method", "man+dgl", "--device", "cpu", "--save-every", "1"],
  ...["--train-limit", `${16 * STEPS_PER_EPOCH}`, "--test-limit", "32", "--batch", "16", "--epochs", "3"],
  ...["--samples", "0"],
];
const STEPS = 3 * STEPS_PER_EPOCH;
/** The number of kills after which a run may finish. */
const STOPS = 10;
/** Seconds within which all end after a kill: ten, and more where other work takes the cores. */
const LIMIT = 30;

/** Kills the runs of a series; throws if one lost or changed anything. */
export async function killSeries(
  dir: string,
  { name, layouts, undisturbed }: Series,
  { kills: wanted, seed, onKill }: { kills: number; seed: number; onKill?: (kill: Kill) => void },
): Promise<Result> {
  const random = generator(seed);
  const pick = <T>(values: readonly [T, ...T[]]): T =>
    values[Math.floor(random() * values.length)] ?? values[0];
  const [first = ALONE] = layouts;
  const [mpich = DEFAULT, openMpi = mpich] = implementations;

  const whole = `${dir}/whole`;
  const began = performance.now();
  const left = await launch(dir, mpich, undisturbed ?? first, [...FLAGS, "--run", whole], whole);
  assertEquals(left.code, 0, left.output);
  const duration = performance.now() - began;
  const expected = await complete(whole);

  const run = `${dir}/killed`, kills: Kill[] = [];
  let runs = 0;
  for (let legs = 0; kills.length < wanted; runs++) {
    let saved = -1;
    for (let stops = 0;; stops++, legs++) {
      const layout = layouts[legs % layouts.length] ?? first;
      const mpi = Math.floor(legs / layouts.length) % 2 === 0 ? mpich : openMpi;
      const when = pick(["any time", "training", "saving", "saving", "evaluating"] as const);
      const plan: Plan = {
        when,
        delay: random() * { "any time": duration, training: 200, saving: 3, evaluating: 20 }[when],
        skip: when === "evaluating" ? 0 : Math.floor(random() * 3),
        victims: pick(["one", "all"]),
        draw: random(),
      };
      const resumes = await exists(`${run}/last.safetensors`);
      const args = resumes ? ["--run", run, "--resume"] : [...FLAGS, "--run", run];
      const more = stops < STOPS && kills.length < wanted;
      const ended = await launch(dir, mpi, layout, args, run, more ? plan : undefined);
      if (!ended.killed) {
        assertEquals(ended.code, 0, ended.output);
        break;
      }
      if (ended.code === 0) break; // the kill came after the work was done
      assert(ended.seconds < LIMIT, `the processes ended ${ended.seconds} s after the kill: ${ended.output}`);
      const has = await exists(`${run}/last.safetensors`);
      const checkpoint = has ? (await readRun(run, "last")).snapshot.step : undefined; // whole, whenever it was
      assert((checkpoint ?? -1) >= saved, `the checkpoint went back from step ${saved} to ${checkpoint}`);
      saved = checkpoint ?? -1;
      const { step, evaluated } = recorded(run);
      const kill = {
        ...{ series: name, layout: layout.name, processes: layout.processes },
        ...{ mpi: layout.processes === 1 ? undefined : mpi.name, when, victims: plan.victims, checkpoint },
        ...{ steps: step, evaluating: !evaluated, saving: await exists(run) && parts(run).length > 0 },
        seconds: ended.seconds,
      };
      kills.push(kill);
      onKill?.(kill);
    }
    const found = await complete(run);
    if (undisturbed !== undefined) assertEquals(found, expected);
    await Deno.remove(run, { recursive: true });
  }
  await Deno.remove(whole, { recursive: true });
  const sha256 = `${expected.get("last.safetensors")}`;
  return { series: name, runs, kills, ...(undisturbed === undefined ? {} : { sha256 }) };
}

const DEFAULT: Implementation = { name: "MPICH", prefix: "", flags: [], lenient: [], env: {} };

/** The outcome of a finished run, without times and memory; checks that it has every step and epoch once. */
async function complete(run: string): Promise<Map<string, unknown>> {
  assertEquals(parts(run), []);
  const kept = outcome(run);
  assert(kept.has("last.safetensors") && kept.has("best.safetensors"));
  const lines = await readMetrics(`${run}/metrics.jsonl`);
  const steps = lines.flatMap((line) => line.kind === "step" ? [line.step] : []);
  assertEquals(steps, Array.from({ length: STEPS }, (_, i) => i + 1));
  const epochs = lines.flatMap((line) =>
    line.kind === "epoch" ? [[line.epoch, line.testError, line.testLoss]] : []
  );
  assertEquals(epochs.map(([epoch]) => epoch), [1, 2, 3]);
  assertEquals((await readRun(run, "last")).snapshot.step, STEPS);
  kept.set("epochs", epochs);
  return kept;
}
