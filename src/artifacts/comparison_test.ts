import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { LocalgradError } from "../base/errors.ts";
import type { MemoryReport } from "../compile/plan.ts";
import { HostArray } from "../trace/host_array.ts";
import { compare } from "./comparison.ts";
import { comparisonPage, differencesTable, resultsTable } from "./comparison_page.ts";
import type { EpochRecord, RunInfo } from "./observer.ts";
import { report } from "./report.ts";
import { type RunFolder, runFolder } from "./run_folder.ts";
import { readReport } from "./run_record.ts";

const memory: MemoryReport = {
  peakBytes: 2 ** 20,
  arenaBytes: 2000,
  breakdown: { parameters: 1000, activations: 2 ** 20 - 1000 },
  heldAtPeak: [{ what: "conv", scope: "module 1/forward", bytes: 500 }],
  timeline: [{ scope: "module 1/forward", liveBytes: 2000 }, { scope: "module 2/forward", liveBytes: 500 }],
};

const info = (method: string): RunInfo => ({
  configuration: { model: "resnet8", method: { name: method }, batch: 32 },
  epochs: 3,
  stepsPerEpoch: 2,
  imagesPerEpoch: 64,
  firstStep: 0,
  resumed: false,
  modules: ["a", "b"],
  memory: method === "endToEnd"
    ? { method: memory, endToEnd: memory }
    : { method: memory, endToEnd: { ...memory, peakBytes: 2 ** 22 } },
  devices: [{ arithmetic: "cpu, WebAssembly", firstStep: 0 }],
});

/** Trains for 5 steps of 2 epochs and a half; test errors are given. */
async function run(folder: string, method: string, testErrors: readonly number[]): Promise<RunFolder> {
  const observer = runFolder(folder, { dataset: "shapes", lr: 0.1 });
  await observer.start(info(method));
  const snapshot = {
    step: 0,
    tensors: new Map([["w", new HostArray(Float32Array.of(1))]]),
    configuration: {},
  };
  await observer.save(snapshot, ["last"]);
  for (let step = 1; step <= 5; step++) {
    const epoch = Math.ceil(step / 2);
    const losses = [9, step === 5 ? NaN : step];
    await observer.step({ step, epoch, losses, accuracy: step / 8, learningRate: 0.1, images: 32 });
    const testError = testErrors[step / 2 - 1];
    if (testError !== undefined) await observer.epoch(evaluation(epoch, testError));
  }
  return observer;
}

const evaluation = (epoch: number, testError: number): EpochRecord => ({
  epoch,
  testError,
  testLoss: 2 * testError,
  imagesPerSecond: 100 * epoch,
  plannedPeakBytes: memory.peakBytes,
  held: { bytes: 4000, dataBytes: 1000, residentBytes: 9000 },
  best: true,
});

Deno.test("compare() has means of epochs, the best one, and the settings that differ", () =>
  inFolder(async (dir) => {
    await (await run(`${dir}/a`, "dgl", [0.25, 0.5])).end("stopped");
    const running = await run(`${dir}/b`, "endToEnd", [0.75]); // not ended: in progress
    const comparison = compare(
      new Map([["a", await readReport(`${dir}/a`)], ["b", await readReport(`${dir}/b`)]]),
    );
    await running.end();
    assertEquals(comparison.differences, { "method.name": ["dgl", "endToEnd"] });
    const [{ seconds, ...a }, b] = comparison.runs;
    assert(seconds !== undefined && seconds > 0 && seconds < 600, String(seconds));
    assertEquals(a, {
      evaluatedOn: "test",
      run: "a",
      epochsDone: 2,
      epochs: 3,
      bestError: 0.25,
      bestEpoch: 1,
      last: { trainError: 3 / 8, trainLoss: NaN, testError: 0.5, testLoss: 1 },
      plannedPeakBytes: 2 ** 20,
      endToEndPeakBytes: 2 ** 22,
      held: { bytes: 4000, dataBytes: 1000, residentBytes: 9000 },
      imagesPerSecond: 200,
      curve: [
        { epoch: 1, trainError: 1 - 1.5 / 8, trainLoss: 1.5, testError: 0.25, testLoss: 0.5 },
        { epoch: 2, trainError: 1 - 3.5 / 8, trainLoss: 3.5, testError: 0.5, testLoss: 1 },
        { epoch: 3, trainError: 3 / 8, trainLoss: NaN },
      ],
    });
    assertEquals([b.bestError, b.bestEpoch, b.plannedPeakBytes / b.endToEndPeakBytes], [0.75, 1, 1]);

    const { heads, rows } = resultsTable(comparison);
    assertEquals(heads.slice(2, 4).concat(heads.at(-1) ?? ""), ["test error", "best", "time"]);
    assertEquals(rows[0].slice(0, 5), ["a", "2 of 3", "50.00 %", "25.00 %", "1"]);
    assert(rows[0].includes("not finite") && rows[0].includes("25.00 %"));
    assertEquals(differencesTable(comparison)?.rows, [["a", "dgl"], ["b", "endToEnd"]]);
    // More settings than runs go downwards.
    const differences = { batch: ["8", "16"], seed: ["0", "1"], lr: ["–", "0.1"] };
    assertEquals(differencesTable({ ...comparison, differences }), {
      heads: ["setting", "a", "b"],
      rows: [["batch", "8", "16"], ["seed", "0", "1"], ["lr", "–", "0.1"]],
    });
    const html = comparisonPage(comparison);
    for (const text of ["2 runs compared", "Test error", "Training error", "Test loss", "method.name"]) {
      assertStringIncludes(html, text);
    }
    assertEquals(html.match(/<polyline/g)?.length, 8); // four measurements of two runs
    assertEquals(/NaN|Infinity|undefined/.test(html), false);
    assertEquals(/https?:\/\//.test(html.replaceAll("http://www.w3.org/", "")), false);
  }));

Deno.test("compare() needs runs; one alone differs in nothing, and names are escaped", () =>
  inFolder(async (dir) => {
    await (await run(`${dir}/a`, "dgl", [])).end();
    assertThrows(() => compare(new Map()), LocalgradError, "at least one run");
    const comparison = compare(new Map([["<b>", await readReport(`${dir}/a`)]]));
    assertEquals([comparison.differences, comparison.runs[0].bestError], [{}, undefined]);
    const html = comparisonPage(comparison);
    assertMatch(html, /&lt;b&gt;/);
    assertEquals(html.includes("<b>"), false);
  }));

Deno.test("the time of a run is that of all its attempts; runs of earlier versions have none", () =>
  inFolder(async (dir) => {
    await (await run(`${dir}/a`, "dgl", [0.25])).end("stopped");
    const path = `${dir}/a/metrics.jsonl`;
    const lines = (await Deno.readTextFile(path)).split("\n");
    const rewritten = (seconds: number | undefined) =>
      lines.map((line) =>
        line === ""
          ? ""
          : JSON.stringify({ ...JSON.parse(line), ...(line.includes('"epoch"') ? { seconds } : {}) })
      )
        .join("\n");
    await Deno.writeTextFile(path, rewritten(undefined));
    const earlier = await readReport(`${dir}/a`);
    assertEquals(earlier.seconds, undefined);
    assertEquals(resultsTable(compare(new Map([["a", earlier]]))).heads.includes("time"), false);
    await Deno.writeTextFile(path, rewritten(3600));
    const resumed = runFolder(`${dir}/a`);
    await resumed.start({ ...info("dgl"), resumed: true, firstStep: 2 });
    await resumed.epoch(evaluation(2, 0.5));
    await resumed.save({ step: 4, tensors: new Map(), configuration: {} }, ["last"]);
    await resumed.end("done");
    const { seconds = 0 } = await readReport(`${dir}/a`);
    assert(seconds > 3600 && seconds < 4200, String(seconds));
    assertStringIncludes(await Deno.readTextFile(`${dir}/a/report.html`), "<dt>time</dt><dd>1 h 0");
  }));

Deno.test("errors on a validation split are called so, and runs on both are told apart", () =>
  inFolder(async (dir) => {
    await (await run(`${dir}/a`, "dgl", [0.25])).end();
    const a = await readReport(`${dir}/a`);
    const b = { ...a, info: { ...a.info, validationImages: 8 } };
    const split = compare(new Map([["b", b]]));
    assertEquals(resultsTable(split).heads.slice(2, 6), [
      "validation error",
      "best",
      "in epoch",
      "validation loss",
    ]);
    assertStringIncludes(comparisonPage(split), "Validation error");
    assertEquals(/test (error|loss)/i.test(comparisonPage(split) + report([b, b])), false);
    const both = compare(new Map([["a", a], ["b", b]]));
    const { heads, rows } = resultsTable(both);
    assertEquals([heads[2], heads[3], rows[0][2], rows[1][2]], [
      "evaluated on",
      "error",
      "test",
      "validation",
    ]);
    assertEquals(/(test|validation) error/i.test(comparisonPage(both)), false);
  }));

Deno.test("readReport() gives the page that the run wrote last, byte for byte", () =>
  inFolder(async (dir) => {
    for (const method of ["dgl", "endToEnd"]) {
      await (await run(`${dir}/${method}`, method, [0.25, 0.5])).end("done");
      const page = report([await readReport(`${dir}/${method}`)]);
      assertEquals(page, await Deno.readTextFile(`${dir}/${method}/report.html`));
    }
  }));

Deno.test("readReport() refuses a folder without a run, a later format and a damaged file", () =>
  inFolder(async (dir) => {
    const refused = (path: string, message: string) =>
      assertRejects(() => readReport(path), LocalgradError, message);
    await refused(`${dir}/none`, "there is nothing at");
    await (await run(`${dir}/a`, "dgl", [0.25])).end();
    const path = `${dir}/a/run.json`;
    await refused(path, `is a file of a run; give its folder, ${dir}/a`);
    const record = JSON.parse(await Deno.readTextFile(path));
    const cases: [unknown, string][] = [
      [{ ...record, format: 2 }, "has format 2; this localgrad reads formats up to 1"],
      [{ ...record, info: { ...record.info, epochs: "3" } }, 'info.epochs is "3", not a whole number'],
      [{ ...record, memory: {} }, "memory.endToEnd is missing"],
    ];
    for (const [content, message] of cases) {
      await Deno.writeTextFile(path, JSON.stringify(content));
      await refused(`${dir}/a`, message);
    }
    await Deno.writeTextFile(path, "{");
    await refused(`${dir}/a`, "run.json is damaged: it is not JSON");
  }));
