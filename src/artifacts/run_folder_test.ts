import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { LocalgradError } from "../base/errors.ts";
import type { MemoryReport } from "../compile/plan.ts";
import { HostArray } from "../trace/host_array.ts";
import { writeCheckpoint } from "./checkpoint.ts";
import { type MetricsLine, readMetrics } from "./metrics.ts";
import type { EpochRecord, RunInfo, Snapshot, StepRecord } from "./observer.ts";
import { readRun, runFolder } from "./run_folder.ts";

const memory: MemoryReport = {
  peakBytes: 3000,
  arenaBytes: 2000,
  breakdown: { parameters: 1000, activations: 2000 },
  heldAtPeak: [],
  timeline: [{ scope: "module 1/forward", liveBytes: 2000 }, { scope: "module 2/forward", liveBytes: 500 }],
};

const info = (firstStep: number, stepsPerEpoch = 2): RunInfo => ({
  configuration: { model: "resnet8", method: { name: "dgl" } },
  epochs: 3,
  stepsPerEpoch,
  imagesPerEpoch: 64,
  firstStep,
  resumed: firstStep > 0,
  modules: ["a", "b"],
  memory: { method: memory, endToEnd: { ...memory, peakBytes: 6000 } },
});

const step = (n: number): StepRecord => ({
  step: n,
  epoch: Math.ceil(n / 2),
  losses: [1 / n, 2 / n],
  accuracy: 0.5,
  learningRate: 0.1,
  images: 32,
});

const epoch = (n: number): EpochRecord => ({
  epoch: n,
  testError: 1 / (n + 1),
  testLoss: 2,
  imagesPerSecond: 100,
  plannedPeakBytes: 3000,
  held: { bytes: 4000, dataBytes: 1000 },
  best: true,
});

const snapshot = (n: number): Snapshot => ({
  step: n,
  tensors: new Map([["fc.bias", new HostArray(Float32Array.of(n))]]),
  configuration: { model: "resnet8" },
});

/** Runs steps `from + 1 … to` into a folder, saving after each epoch unless `crash`; returns the metrics. */
async function run(folder: string, from: number, to: number, crash = false): Promise<MetricsLine[]> {
  const observer = runFolder(folder, { dataset: "shapes" });
  await observer.start(info(from));
  for (let n = from + 1; n <= to; n++) {
    await observer.step(step(n));
    if (n % 2 === 0) {
      await observer.epoch(epoch(n / 2));
      if (!crash) await observer.save(snapshot(n), ["last"]);
    }
  }
  await observer.end();
  return readMetrics(`${folder}/metrics.jsonl`);
}

/** Lines of metrics without what depends on the clock. */
const timeless = (lines: readonly MetricsLine[]) =>
  lines.map((line) => {
    if (line.kind === "step") return line;
    const { time: _time, seconds: _seconds, ...rest } = line;
    return rest;
  });

Deno.test("runFolder() writes metrics in the documented form, checkpoints and a report", () =>
  inFolder(async (dir) => {
    const lines = await run(`${dir}/new/run`, 0, 4);
    assertEquals(lines.map((line) => line.kind), ["step", "step", "epoch", "step", "step", "epoch"]);
    assertEquals(lines[0], { kind: "step", step: 1, losses: [1, 2], accuracy: 0.5, learningRate: 0.1 });
    assertMatch(JSON.stringify(lines[5]), /"time":"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/);
    assertEquals(timeless(lines)[5], {
      kind: "epoch",
      epoch: 2,
      testError: 1 / 3,
      testLoss: 2,
      imagesPerSecond: 100,
      plannedPeakBytes: 3000,
      held: { bytes: 4000, dataBytes: 1000 },
    });
    const { snapshot, settings } = await readRun(`${dir}/new/run`, "last");
    assertEquals([snapshot.step, settings], [4, { dataset: "shapes" }]);
    const html = await Deno.readTextFile(`${dir}/new/run/report.html`);
    assertStringIncludes(html, "dgl: resnet8 on shapes");
    assertEquals([...Deno.readDirSync(`${dir}/new/run`)].length, 4);
  }));

Deno.test("runFolder() resumes from a checkpoint and drops the steps after it", () =>
  inFolder(async (dir) => {
    await run(dir, 0, 4);
    await run(dir, 4, 6, true); // not saved, so done again
    await Deno.writeTextFile(`${dir}/metrics.jsonl`, '{"kind":"step","st', { append: true });
    const whole = await run(`${dir}/whole`, 0, 6);
    assertEquals(timeless(await run(dir, 4, 6)), timeless(whole));
  }));

Deno.test("runFolder() refuses a folder in use, and leaves it as it was", () =>
  inFolder(async (dir) => {
    const lines = await run(dir, 0, 2);
    await assertRejects(() => run(dir, 0, 2), LocalgradError, "holds a run already");
    assertEquals(await readMetrics(`${dir}/metrics.jsonl`), lines);
    await Deno.remove(`${dir}/last.safetensors`);
    await assertRejects(() => run(dir, 0, 2), LocalgradError, "never saved a checkpoint");
    await Deno.writeTextFile(`${dir}/file`, "");
    await assertRejects(() => run(`${dir}/file`, 0, 2), LocalgradError, "is not a folder");
  }));

Deno.test("runFolder() refuses to resume with other images, and leaves the metrics as they were", () =>
  inFolder(async (dir) => {
    const lines = await run(dir, 0, 4);
    const start = (stepsPerEpoch: number) => runFolder(dir).start(info(4, stepsPerEpoch));
    for (const steps of [1, 3]) {
      await assertRejects(() => start(steps), LocalgradError, `has 2 steps per epoch, not ${steps}`);
    }
    assertEquals(await readMetrics(`${dir}/metrics.jsonl`), lines);
  }));

Deno.test({
  name: "runFolder() refuses a run that is being written, and leaves it alone",
  ignore: Deno.build.os === "windows", // where a lock would exclude readers too
  fn: () =>
    inFolder(async (dir) => {
      const first = runFolder(dir);
      await first.start(info(0));
      for (let n = 1; n <= 4; n++) await first.step(step(n));
      for (const from of [0, 2]) {
        const second = runFolder(dir);
        await assertRejects(() => second.start(info(from)), LocalgradError, "written by another run");
        await second.end();
      }
      assertEquals((await readMetrics(`${dir}/metrics.jsonl`)).length, 4);
      await first.end();
      const later = runFolder(dir);
      await later.start(info(2));
      assertEquals(later.lines.length, 2);
      await later.end();
    }),
});

Deno.test("runFolder() removes a run that failed before its first step, and keeps one that failed later", () =>
  inFolder(async (dir) => {
    const path = `${dir}/run`;
    for (const done of [0, 1]) {
      const observer = runFolder(path);
      await observer.start(info(0));
      await observer.save(snapshot(0), ["last"]);
      if (done > 0) await observer.step(step(done));
      await observer.end("failed");
      assertEquals([...Deno.readDirSync(dir)].length, done);
    }
    const again = runFolder(path);
    await again.start(info(1));
    assertEquals(again.lines.length, 1);
    await again.end("failed");
    assertEquals(await readMetrics(`${path}/metrics.jsonl`), again.lines);
  }));

Deno.test("runFolder() accepts a folder whose run was killed before its first save, and removes half-written files", () =>
  inFolder(async (dir) => {
    const halves = ["last.safetensors.71.part", "report.html.3.part"];
    for (const name of ["metrics.jsonl", ...halves, "notes.part"]) {
      await Deno.writeTextFile(`${dir}/${name}`, "");
    }
    await run(dir, 0, 2);
    const names = [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
    assertEquals(names, ["last.safetensors", "metrics.jsonl", "notes.part", "report.html", "run.json"]);
    await Deno.writeTextFile(`${dir}/${halves[0]}`, "half");
    await run(dir, 2, 4);
    assertEquals([...Deno.readDirSync(dir)].length, 5);
  }));

Deno.test("runFolder() refuses records before the start and after the end of a run", () =>
  inFolder(async (dir) => {
    const observer = runFolder(`${dir}/run`);
    const refused = () => assertRejects(() => observer.step(step(1)), LocalgradError, "call start() first");
    await refused();
    await observer.start(info(0));
    await observer.step(step(1));
    await observer.end();
    await refused();
    assertEquals(observer.lines.length, 1);
  }));

Deno.test("readRun() says that a run without an evaluation has no best checkpoint", () =>
  inFolder(async (dir) => {
    await run(dir, 0, 2); // saved as last only
    await assertRejects(() => readRun(dir, "best"), LocalgradError, "use the last one");
    await assertRejects(() => readRun("", "last"), LocalgradError, "the path of a run's folder is empty");
    await assertRejects(() => readRun(`${dir}/none`, "best"), LocalgradError, "there is nothing at");
  }));

Deno.test("readRun() says that the best checkpoint of an evaluated run was removed", () =>
  inFolder(async (dir) => {
    const snapshot = { step: 2, bestError: 0.5, tensors: new Map(), configuration: {} };
    await writeCheckpoint(`${dir}/last.safetensors`, { snapshot, settings: {} });
    await assertRejects(
      () => readRun(dir, "best"),
      LocalgradError,
      `${dir}/best.safetensors is missing, although the run was evaluated; restore`,
    );
  }));

Deno.test("readMetrics() names a wrong line and field", () =>
  inFolder(async (dir) => {
    const path = `${dir}/metrics.jsonl`;
    const line = '{"kind":"step","step":1,"losses":[0.5,null],"accuracy":1,"learningRate":0.1}';
    const cases: [string, string][] = [
      ["nonsense", "line 2 is not JSON"],
      ["null", "line 2 is null, not an object"],
      ["{}", "line 2: kind is missing; it must be one of step, epoch"],
      [line.replace('"step":1', '"step":"1"'), 'line 2: step is "1", not a whole number of at least 1'],
      [line.replace("0.5", "{}"), "line 2: losses[0] is an object, not a number"],
      ['{"kind":"epoch","epoch":1}', "line 2: testError is missing"],
      [`{"kind":"step","x":"${"x".repeat(2 ** 20)}"}`, "line 2 is longer than any that localgrad writes"],
    ];
    for (const [wrong, message] of cases) {
      await Deno.writeTextFile(path, `${line}\n${wrong}\n`);
      const error = await assertRejects(() => readMetrics(path), LocalgradError);
      assertStringIncludes(error.message, message);
      assertStringIncludes(error.message, path);
    }
    await Deno.writeTextFile(path, `${line}\n`);
    const [step] = await readMetrics(path); // a NaN loss is null in JSON
    assertEquals(step.kind === "step" && step.losses, [0.5, NaN]);
    assertEquals(await readMetrics(`${dir}/none.jsonl`), []);
  }));

Deno.test({
  name: "runFolder() does not write through links, and removes half-written files of killed runs",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (dir) => {
      await run(`${dir}/run`, 0, 4);
      const [metrics, mine] = [`${dir}/run/metrics.jsonl`, `${dir}/mine.txt`];
      await Deno.rename(metrics, mine);
      await Deno.symlink("../mine.txt", metrics);
      const before = await Deno.readTextFile(mine);
      await assertRejects(() => run(`${dir}/run`, 2, 4), LocalgradError, "metrics.jsonl is a link");
      assertEquals(await Deno.readTextFile(mine), before);
      await Deno.remove(metrics);
      await Deno.rename(mine, metrics);
      // A checkpoint is renamed into its place: a link there is replaced, and its target stays.
      await Deno.writeTextFile(mine, "a note");
      for (
        const name of ["best.safetensors", "report.html", "run.json", `last.safetensors.${Deno.pid}.part`]
      ) {
        await Deno.remove(`${dir}/run/${name}`).catch(() => {});
        await Deno.symlink("../mine.txt", `${dir}/run/${name}`);
      }
      await Deno.writeTextFile(`${dir}/run/last.safetensors.123.part`, "half");
      await run(`${dir}/run`, 4, 6);
      assertEquals(await Deno.readTextFile(mine), "a note");
      assertEquals((await readRun(`${dir}/run`, "last")).snapshot.step, 6);
      assertEquals([...Deno.readDirSync(`${dir}/run`)].map(({ name }) => name).sort(), [
        "best.safetensors",
        "last.safetensors",
        "metrics.jsonl",
        "report.html",
        "run.json",
      ]);
    }),
});
