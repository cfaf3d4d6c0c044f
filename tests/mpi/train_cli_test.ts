/** `train --parallel` by real processes: one prints and keeps the run, and all stop when they are interrupted or one fails. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { readMetrics, readRun } from "../../src/train.ts";
import { inFolder } from "../in_folder.ts";
import { type Implementation, implementations, skipped, start } from "./start.ts";

const script = import.meta.resolve("../../src/cli/main.ts");
const [mpich, openMpi] = implementations;

const flags = ["--modules", "3", "--train-limit", "64", "--test-limit", "32", "--batch", "16"];

/** `train` in two processes. */
function train(
  mpi: Implementation,
  folder: string,
  args: readonly string[],
  started?: (mpirun: Deno.ChildProcess) => void,
) {
  return start(mpi, {
    ...{ processes: 2, script, args: ["train", ...flags, ...args], write: [folder] },
    env: { LOCALGRAD_THREADS: "1", LOCALGRAD_CPU: "wasm", LOCALGRAD_DEVICE: "cpu" },
    ...(started === undefined ? {} : { started }),
  });
}

const test = (name: string, fn: () => Promise<void>) => Deno.test({ name, ignore: skipped, fn });

/** The number of steps in the metrics of a run. */
async function stepsIn(run: string): Promise<number> {
  return (await readMetrics(`${run}/metrics.jsonl`)).filter(({ kind }) => kind === "step").length;
}

test("an interrupted train saves once, ends all with exit code 130, and is resumed with shares", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    const args = ["--parallel", "modules", "--epochs", "1000", "--run", run];
    const after = (step: number, signal: Deno.Signal) => async (mpirun: Deno.ChildProcess) => {
      while (await stepsIn(run) <= step) await new Promise((resolve) => setTimeout(resolve, 50));
      mpirun.kill(signal);
    };
    const stopped = await train(mpich, folder, args, after(0, "SIGINT"));
    assertEquals(stopped.code, 130, stopped.stderr);
    assertMatch(stopped.stderr, /2 processes: 2 runs of modules/);
    for (const line of ["training resnet8", "stopping after this step, saving", "stopped and saved"]) {
      assertEquals(stopped.stderr.split(line).length, 2, `${line} once: ${stopped.stderr}`);
    }
    const { snapshot: { step } } = await readRun(run, "last");
    assertEquals(await stepsIn(run), step);
    const resume = ["--parallel", "data", "--run", run, "--resume", "--json"];
    const resumed = await train(openMpi, folder, resume, after(step, "SIGUSR1")); // what train:mpi sends it
    assertEquals(resumed.code, 130, resumed.stderr);
    assertEquals(JSON.parse(resumed.stdout).stopped, true); // one process printed it
    const { snapshot: { step: last } } = await readRun(run, "last");
    assert(last > step);
    assertEquals(await stepsIn(run), last);
  }));

test("processes with other flags are refused by the flag's name, before anything is done", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    const args = ["train", ...flags, "--parallel", "modules", "--run", run];
    const permissions = ["--allow-ffi", "--allow-env", "--allow-read", `--allow-write=${folder}`];
    const another = [
      Deno.execPath(),
      "run",
      "-q",
      ...permissions,
      script,
      ...args,
      "--init",
      "a.safetensors",
    ];
    const { code, stderr } = await start(openMpi, {
      ...{ processes: 1, script, args: [...args, ":", "-n", "1", ...another], write: [folder] },
      env: { LOCALGRAD_THREADS: "1", LOCALGRAD_CPU: "wasm", LOCALGRAD_DEVICE: "cpu" },
    });
    assertEquals(code, 2, stderr);
    assertEquals(stderr.match(/error: /g)?.length, 1, stderr);
    assertStringIncludes(
      stderr,
      'the flag --init is "a.safetensors" in process 1 of 2, but missing in process 0; start all processes',
    );
    assert(await Deno.stat(run).then(() => false, () => true));
  }));

test("a mistake is told once", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    const { code, stderr } = await train(mpich, folder, ["--run", run]);
    assertEquals(code, 2, stderr);
    assertEquals(stderr.match(/error: /g)?.length, 1, stderr);
    assertStringIncludes(stderr, "2 processes were started, each of which would train the whole network");
    assert(await Deno.stat(run).then(() => false, () => true));
  }));
