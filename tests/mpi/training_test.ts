/** Training by real processes: the same as by one, wherever the method allows it. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { readMetrics } from "../../src/artifacts/metrics.ts";
import { readRun } from "../../src/artifacts/run_folder.ts";
import { openWebgpu } from "../../src/backends/webgpu/backend.ts";
import { open } from "../../src/runtime/devices.ts";
import { skips } from "../gate.ts";
import { inFolder } from "../in_folder.ts";
import { type Settings, type Trained, trained } from "./settings.ts";
import { type Implementation, implementations, skipped, start } from "./start.ts";

const script = import.meta.resolve("./processes/training.ts");
const [mpich, openMpi] = implementations;

/** What each process of a layout reports of each run. */
async function inProcesses(
  mpi: Implementation,
  processes: number,
  layout: string,
  runs: readonly Settings[],
  device: "cpu" | "webgpu" = "cpu",
): Promise<readonly (readonly Trained[])[]> {
  const args = [layout, JSON.stringify(runs), device];
  const write = runs.flatMap(({ checkpoint }) => checkpoint ?? []);
  const { code, stderr, reports } = await start(mpi, { processes, script, args, write });
  assertEquals(code, 0, stderr);
  return reports as (readonly Trained[])[];
}

/** What one process reports. */
async function inOne(settings: Settings, name: "cpu" | "webgpu" = "cpu"): Promise<Trained> {
  const key = JSON.stringify([settings, name]);
  const known = ones.get(key);
  if (known !== undefined) return known;
  await using device = await open(name, { engine: "wasm", threads: 1 });
  const found = JSON.parse(JSON.stringify(await trained(device, settings))) as Trained;
  ones.set(key, found);
  return found;
}

const ones = new Map<string, Trained>();

const test = (name: string, fn: () => Promise<void>) => Deno.test({ name, ignore: skipped, fn });

const methods: readonly Settings[] = [
  { method: "greedy", epochs: 1, given: true },
  { method: "dgl", epochs: 1, depth: 3, exchange: "stale" }, // nothing is tracked
  { method: "infopro", epochs: 1, clip: true, recomputes: 0 },
  { method: "man+dgl", epochs: 2 },
  { method: "greedy", epochs: 2, mix: true }, // the last process mixes labels of images that it has not
  { method: "man+greedy", network: "dropping", epochs: 1 }, // a tracked block drops values too
  { method: "greedy", network: "segmenter", epochs: 1, given: true },
];

const more: readonly Settings[] = [
  { method: "man after the step", epochs: 1 },
  { method: "predsim", epochs: 1 },
  { method: "augLocal", epochs: 1 },
  { method: "manPlusPlus+dgl", epochs: 1 },
];

for (const [mpi, processes, runs] of [[mpich, 2, methods], [openMpi, 3, more]] as const) {
  test(`a pipeline of ${processes} processes has the bits, metrics and predictions of one`, async () => {
    const [first, ...others] = await inProcesses(mpi, processes, "modules", runs);
    for (const [i, settings] of runs.entries()) {
      const expected = await inOne(settings);
      assertEquals(first[i], expected, settings.method);
      for (const other of others) {
        assertEquals(other[i].classes, expected.classes); // all have the whole network
        assertEquals(other[i].events, []);
        assertEquals(other[i].report, expected.report);
        for (const value of other[i].bits) {
          assert(expected.bits.some((each) => `${each}` === `${value}`), `${value[0]}`);
        }
      }
    }
  });
}

Deno.test({
  name: "a pipeline of 2 processes on webgpu has the bits and metrics of one",
  ignore: skipped || await skips("webgpu", () => openWebgpu()),
  async fn() {
    const runs: readonly Settings[] = [
      { method: "man+dgl", epochs: 1 }, // a tracked block
      { method: "infopro", epochs: 1 }, // images in all processes
    ];
    const [first] = await inProcesses(mpich, 2, "modules", runs, "webgpu");
    for (const [i, settings] of runs.entries()) {
      assertEquals(first[i], await inOne(settings, "webgpu"), settings.method);
    }
  },
});

test("processes that share batches have the same bits, and pipelines of them too", async () => {
  const runs: readonly Settings[] = [
    { method: "man+dgl", epochs: 1, clip: true, given: true },
    {
      ...{ method: "man+dgl", epochs: 2, exchange: { every: 2 }, batchNorm: "synchronised", mix: true },
      weigh: true, // by the whole batch's weights, not each share's
    },
    { method: "greedy", network: "dropping", epochs: 1 },
  ];
  const [[shared, whole, dropped], [other, another, droppedToo]] = await inProcesses(
    openMpi,
    2,
    "data",
    runs,
  );
  assertEquals(other.bits, shared.bits);
  assertEquals(another.bits, whole.bits);
  assertEquals(droppedToo.bits, dropped.bits);
  const one = await inOne({ method: "man+dgl", epochs: 2, mix: true, weigh: true });
  for (const [step, [, losses]] of whole.steps.entries()) { // batch norms see the whole batch
    const expected = one.steps[step][1] as number[];
    (losses as number[]).forEach((loss, i) => assertAlmostEquals(loss, expected[i], 1e-3, `step ${step}`));
  }
  assertEquals(whole.staleness, [null, null], "no process tracks a block of another");
  const four = await inProcesses(mpich, 4, "2x2", runs);
  const [[first, stale, drops], [second], [third], [fourth]] = four;
  for (const age of stale.staleness) {
    assert(age !== undefined && age.mean >= 0 && age.most <= 6 && age.mean <= age.most, `${age}`);
  }
  assertEquals(first.bits, shared.bits);
  assertEquals(drops.bits, dropped.bits);
  assertEquals([...third.bits, ...fourth.bits].toSorted(), first.bits.toSorted());
  assertEquals(second.bits, fourth.bits);
  assertEquals(first.steps, shared.steps);
  assertEquals([other, first, fourth].map(({ report }) => report), new Array(3).fill(shared.report));
  assertEquals([third.classes, fourth.classes], [first.classes, first.classes]);
});

test("a run that is stopped goes on in another layout, or in one process, with all that was saved", () =>
  inFolder(async (folder) => {
    const settings = (name: string, rank?: number): Settings => ({
      ...{ method: "man+dgl", epochs: 2, checkpoint: `${folder}/${name}` },
      ...(rank === undefined ? {} : { stop: { rank, step: 2 } }),
    });
    const copy = async (from: string, to: string) => {
      await Deno.mkdir(`${folder}/${to}`);
      for await (const { name } of Deno.readDir(`${folder}/${from}`)) {
        await Deno.copyFile(`${folder}/${from}/${name}`, `${folder}/${to}/${name}`);
      }
    };
    const expected = await inOne({ method: "man+dgl", epochs: 2 });
    // Stopped by a process that keeps nothing: all stop after the same step, and save once.
    const [[first], [second]] = await inProcesses(mpich, 2, "modules", [settings("pipeline", 1)]);
    assert(first.stopped && second.stopped);
    assert(first.stepsDone >= 1 && first.stepsDone < 6, `${first.stepsDone} steps`);
    assertEquals(second.stepsDone, first.stepsDone);
    const epochs = Math.floor(first.stepsDone / 3);
    const events = [
      "start",
      "save last",
      ...epochs > 0 ? ["epoch 1", "save best,last"] : [],
      "save last",
      "stopped",
    ];
    assertEquals(first.events, events);
    assertEquals(await filesOf(`${folder}/pipeline`), RUN_FILES);
    await copy("pipeline", "alone");
    const resumed = await inOne(settings("alone"));
    assertEquals(resumed.bits, expected.bits);
    assertEquals(resumed.bestError, expected.bestError);
    const lines = await readMetrics(`${folder}/alone/metrics.jsonl`);
    const steps = lines.flatMap((line) => line.kind === "step" ? [line.step] : []);
    assertEquals(steps, [1, 2, 3, 4, 5, 6]);

    await copy("pipeline", "divided");
    const shared = await inProcesses(openMpi, 2, "data", [settings("divided"), settings("shares", 0)]);
    const [[divided, stopped], [other]] = shared;
    assertEquals(divided.stepsDone, 6);
    assertEquals(other.bits, divided.bits);
    assert(stopped.stopped);
    await copy("shares", "shares alone");
    const [[pipeline]] = await inProcesses(mpich, 2, "modules", [settings("shares")]);
    assertEquals(pipeline, await inOne(settings("shares alone")));
  }));

const RUN_FILES = ["last.safetensors", "metrics.jsonl", "report.html", "run.json"];

async function filesOf(folder: string): Promise<string[]> {
  const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
  return names.filter((name) => !name.startsWith("best")).toSorted();
}

for (const rank of [0, 1]) {
  test(`if process ${rank} of a pipeline fails, all end, with its error alone and the last checkpoint whole`, () =>
    inFolder(async (folder) => {
      const checkpoint = `${folder}/run`;
      const runs: Settings[] = [{ method: "man+dgl", epochs: 2, checkpoint, fail: { rank, step: 5 } }];
      const outcome = await start([mpich, openMpi][rank], {
        ...{ processes: 2, script, args: ["modules", JSON.stringify(runs)], write: [checkpoint] },
      });
      assertEquals(outcome.code, 1, outcome.stderr);
      assert(outcome.seconds < 10, `${outcome.seconds} s`); // the time limit is 20
      assertEquals(outcome.stderr.match(/error: .*/g)?.slice(0, 1), [
        "error: Uncaught (in promise) Error: this one failed",
      ]);
      assert(!/LocalgradError|without leaving/.test(outcome.stderr), outcome.stderr);
      assertEquals((await readRun(checkpoint, "last")).snapshot.step, 3); // of the end of the first epoch
    }));
}
