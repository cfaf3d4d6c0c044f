/** Kills and stops real training runs at random moments, and compares their results with an undisturbed run. */

import { assert, assertEquals } from "@std/assert";
import { readMetrics, readRun } from "../../src/train.ts";
import { finish, type Result, start } from "../command_line.ts";
import { exists, outcome } from "../reproduction_outcome.ts";

/** Options of {@link torture}. */
export interface TortureOptions {
  /** Processes to kill. */
  readonly kills: number;
  /** Processes to stop by a signal that they handle. */
  readonly signals: number;
  /** The seed of the random moments. */
  readonly seed: number;
  /** Called after each process that was ended. */
  readonly onEnded?: (count: number, of: number) => void;
}

/** Counts of killed processes, by the point they had reached. `runs` are those that ended like the undisturbed one. */
export interface Kills {
  runs: number;
  kills: number;
  /** Before a checkpoint was written. */
  beforeCheckpoint: number;
  /** Before the first training step was recorded. */
  beforeFirstStep: number;
  /** While a file was being written: a partial file was left. */
  whileSaving: number;
}

/** The same for signals that are handled. */
export interface Signals {
  runs: number;
  signals: number;
  /** Saved, and ended with the signal's exit code. */
  saved: number;
  /** Of those, before the first training step. */
  beforeFirstStep: number;
  /** Ended before the run listened to signals, with the same exit code. */
  beforeListening: number;
  /** Came after training had finished: exit code 0, the run is complete. */
  tooLate: number;
}

/** A small training that saves after every step, so that much of its time is saving. */
const FLAGS = [
  ...["--model", "resnet8", "--modules", "3", "--method", "man+dgl", "--device", "cpu", "--save-every", "1"],
  ...["--train-limit", "64", "--test-limit", "32", "--batch", "16", "--epochs", "3", "--lr", "0.02"],
];
const STEPS = 12;
const CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
/** The number of stops after which a run may finish, so that many runs are compared. */
const STOPS = 8;

/** Runs the test in a folder; throws if a run lost anything. */
export async function torture(
  dir: string,
  { kills, signals, seed, onEnded }: TortureOptions,
): Promise<{ kills: Kills; signals: Signals }> {
  const random = generator(seed);
  const began = performance.now();
  const left = await finish(start(dir, "train", [...FLAGS, "--run", "whole"]));
  assertEquals(left.code, 0, left.stderr);
  const duration = performance.now() - began;
  const expected = await result(`${dir}/whole`);

  const killed: Kills = { runs: 0, kills: 0, beforeCheckpoint: 0, beforeFirstStep: 0, whileSaving: 0 };
  while (killed.kills < kills) {
    const run = `${dir}/killed`;
    for (let stops = 0;; stops++) {
      const wanted = killed.kills < kills && stops < STOPS;
      const ended = await trainFor(dir, "killed", wanted ? random() * duration : Infinity, "SIGKILL");
      if (ended.code === 0) break;
      assertEquals(ended.code, 137, ended.stderr);
      killed.kills++;
      if (!await exists(`${run}/last.safetensors`)) killed.beforeCheckpoint++;
      else await readRun(run, "last"); // whole, whenever it was
      if ((await readMetrics(`${run}/metrics.jsonl`)).length === 0) killed.beforeFirstStep++;
      if (await exists(run) && parts(run).length > 0) killed.whileSaving++;
      onEnded?.(killed.kills, kills + signals);
    }
    await compare(run, expected);
    killed.runs++;
  }

  const stopped: Signals = {
    runs: 0,
    signals: 0,
    saved: 0,
    beforeFirstStep: 0,
    beforeListening: 0,
    tooLate: 0,
  };
  const names = Object.keys(CODES) as (keyof typeof CODES)[];
  while (stopped.signals < signals) {
    const run = `${dir}/stopped`;
    for (let stops = 0;; stops++) {
      const wanted = stopped.signals < signals && stops < STOPS;
      const name = names[Math.floor(random() * names.length)];
      const ended = await trainFor(dir, "stopped", wanted ? random() * duration : Infinity, name);
      if (ended.signalled) {
        stopped.signals++;
        onEnded?.(kills + stopped.signals, kills + signals);
      }
      if (await exists(run)) assertEquals(parts(run), []);
      if (ended.code === 0) {
        if (ended.signalled) stopped.tooLate++;
        break;
      }
      assertEquals(ended.code, CODES[name], `${name}: ${ended.stderr}`);
      if (!ended.stderr.includes("stopping after this step")) {
        stopped.beforeListening++;
        continue;
      }
      stopped.saved++;
      const { snapshot } = await readRun(run, "last");
      const lines = (await readMetrics(`${run}/metrics.jsonl`)).filter(({ kind }) => kind === "step");
      assertEquals(snapshot.step, lines.length);
      if (snapshot.step === 0) stopped.beforeFirstStep++;
    }
    await compare(run, expected);
    stopped.runs++;
  }
  return { kills: killed, signals: stopped };
}

/** Starts or resumes a run, and sends the process a signal after some time unless it has ended. */
async function trainFor(
  dir: string,
  name: string,
  milliseconds: number,
  signal: Deno.Signal,
): Promise<Result & { signalled: boolean }> {
  const resume = await exists(`${dir}/${name}/last.safetensors`);
  const child = start(dir, "train", resume ? ["--run", name, "--resume"] : [...FLAGS, "--run", name]);
  let signalled = false;
  const timer = milliseconds === Infinity ? undefined : setTimeout(() => {
    signalled = true;
    try {
      child.kill(signal);
    } catch { // it has ended
      signalled = false;
    }
  }, milliseconds);
  const ended = await finish(child);
  clearTimeout(timer);
  return { ...ended, signalled };
}

/** Checks that a run is complete and the same as the undisturbed one, and removes it. */
async function compare(run: string, expected: Map<string, unknown>): Promise<void> {
  assertEquals(parts(run), []);
  assertEquals(await result(run), expected);
  await Deno.remove(run, { recursive: true });
}

/** Partially written files. */
export function parts(run: string): string[] {
  return [...Deno.readDirSync(run)].map(({ name }) => name).filter((name) => name.endsWith(".part"));
}

/** The outcome of a run, without times and memory. */
async function result(run: string): Promise<Map<string, unknown>> {
  const kept = outcome(run);
  assert(kept.has("last.safetensors") && kept.has("best.safetensors"));
  const lines = await readMetrics(`${run}/metrics.jsonl`);
  assertEquals(lines.filter(({ kind }) => kind === "step").length, STEPS);
  kept.set(
    "epochs",
    lines.map((line) => line.kind === "epoch" && [line.epoch, line.testError, line.testLoss]),
  );
  return kept;
}

/** Uniform random numbers in [0, 1) from a seed. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = state + 0x9e3779b9 >>> 0;
    let bits = Math.imul(state ^ state >>> 16, 0x21f0aaad);
    bits = Math.imul(bits ^ bits >>> 15, 0x735a2d97);
    return ((bits ^ bits >>> 15) >>> 0) / 2 ** 32;
  };
}
