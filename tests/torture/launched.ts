/** One start of `train` in one process or several, which is killed at a moment that its run folder shows. */

import { assert } from "@std/assert";
import { start as startAlone } from "../command_line.ts";
import { exists } from "../reproduction_outcome.ts";
import { type Implementation, start } from "../mpi/start.ts";
import { parts } from "./torture.ts";

/** How the processes of a start divide the network and its batches. */
export interface Layout {
  readonly name: string;
  readonly processes: number;
}

/** When to kill: some time after the start, in the first steps, while a file is written, or before an epoch is evaluated. */
export interface Moment {
  readonly when: "any time" | "training" | "saving" | "evaluating";
  /** Milliseconds from the start, or from when the folder shows the moment. */
  readonly delay: number;
  /** How often the folder shows it before. */
  readonly skip: number;
}

/** A kill to come. */
export interface Plan extends Moment {
  /** Whom: one process, the draw from [0, 1) says which, or all with their launcher. */
  readonly victims: "one" | "all";
  readonly draw: number;
}

/** How a start ended. */
export interface Ended {
  readonly code: number;
  readonly output: string;
  /** True if processes were killed. */
  readonly killed: boolean;
  /** Seconds from the kill to the end of the last process and of the launcher. */
  readonly seconds: number;
}

const ENV = { NO_COLOR: "1", LOCALGRAD_DEVICE: "cpu", LOCALGRAD_CPU: "wasm", LOCALGRAD_THREADS: "1" };

/** Runs `train` until it ends or is killed. */
export async function launch(
  dir: string,
  mpi: Implementation,
  { name, processes }: Layout,
  args: readonly string[],
  run: string,
  plan?: Plan,
): Promise<Ended> {
  if (processes === 1) {
    const child = startAlone(dir, "train", args, ENV);
    const killing = kill(child, run, plan, 0);
    const { code, stdout, stderr } = await child.output();
    const text = new TextDecoder();
    return { code, output: text.decode(stdout) + text.decode(stderr), ...await killing };
  }
  let killing = Promise.resolve(NOT_KILLED);
  const { code, stdout, stderr } = await start(mpi, {
    ...{ processes, write: [dir], env: ENV, limit: 600 },
    script: import.meta.resolve("../../src/cli/main.ts"),
    args: ["train", ...args, "--parallel", name],
    started: (mpirun) => killing = kill(mpirun, run, plan, processes),
  });
  return { code, output: stdout + stderr, ...await killing };
}

const NOT_KILLED = { killed: false, seconds: 0 };

/** Kills a process, or some of those that a launcher started, at the planned moment, and waits for their end. */
async function kill(
  child: Deno.ChildProcess,
  run: string,
  plan: Plan | undefined,
  launched: number,
): Promise<Pick<Ended, "killed" | "seconds">> {
  if (plan === undefined) return NOT_KILLED;
  let ended = false;
  child.status.then(() => ended = true);
  let pids = [child.pid];
  while (launched > 0) {
    pids = await descendants(child.pid);
    if (ended) return NOT_KILLED;
    if (pids.length === launched) break;
    await pause(20);
  }
  if (!await came(run, plan, () => ended)) return NOT_KILLED;
  const [one = child.pid] = pids.slice(Math.floor(plan.draw * pids.length));
  const since = performance.now();
  for (const pid of plan.victims === "one" ? [one] : [...pids, child.pid]) {
    try {
      Deno.kill(pid, "SIGKILL");
    } catch { // it has ended, as the run has
    }
  }
  await child.status;
  while ((await alive(pids)).length > 0) {
    assert(performance.now() - since < 60_000, "processes live on after one was killed");
    await pause(20);
  }
  return { killed: true, seconds: (performance.now() - since) / 1000 };
}

/** Waits for a moment; false if the run ended before. */
async function came(run: string, { when, delay, skip }: Moment, ended: () => boolean): Promise<boolean> {
  const shows = async () => {
    if (!await exists(run)) return "";
    if (when === "saving") return parts(run).join();
    const { step, evaluated } = recorded(run);
    return when === "training" || !evaluated ? `${step}` : "";
  };
  const first = await shows();
  for (let last = first, left = skip; when !== "any time"; await pause(2)) {
    if (ended()) return false;
    const now = await shows();
    if (now === last || now === "" || now === first) {
      last = now;
      continue;
    }
    last = now;
    if (left-- === 0) break;
  }
  await pause(delay);
  return !ended();
}

/** The number of steps in the metrics of a run, and whether the epoch that they end, if any, was evaluated. */
export function recorded(run: string): { step: number; evaluated: boolean } {
  let lines: string[] = [];
  try {
    lines = Deno.readTextFileSync(`${run}/metrics.jsonl`).split("\n").slice(0, -1);
  } catch { // there is none yet
  }
  const step = lines.filter((line) => line.startsWith('{"kind":"step"')).length;
  const atEnd = step > 0 && step % STEPS_PER_EPOCH === 0;
  return { step, evaluated: !atEnd || lines.at(-1)?.startsWith('{"kind":"epoch"') === true };
}

/** Steps of an epoch of the runs. */
export const STEPS_PER_EPOCH = 4;

/** The processes of Deno below a launcher. */
async function descendants(launcher: number): Promise<number[]> {
  const all = await table();
  const below = (pid: number): typeof all =>
    all.filter(({ parent }) => parent === pid).flatMap((each) => [each, ...below(each.pid)]);
  return below(launcher).filter(({ name }) => name.includes("deno")).map(({ pid }) => pid);
}

async function alive(pids: readonly number[]): Promise<number[]> {
  return (await table()).filter(({ pid, state }) => pids.includes(pid) && !state.startsWith("Z")).map((
    { pid },
  ) => pid);
}

/** The processes of this machine. */
async function table() {
  const { stdout } = await new Deno.Command("ps", { args: ["-A", "-o", "pid=,ppid=,stat=,comm="] }).output();
  return new TextDecoder().decode(stdout).trim().split("\n").map((line) => {
    const [pid = "", parent = "", state = "", ...name] = line.trim().split(/\s+/);
    return { pid: Number(pid), parent: Number(parent), state, name: name.join(" ") };
  });
}

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));
