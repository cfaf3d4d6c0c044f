import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { MemoryReport } from "../compile/plan.ts";
import { lineChart, thin, ticks } from "./chart.ts";
import { formatBytes, formatPercent, formatTime } from "./format.ts";
import type { MetricsLine } from "./metrics.ts";
import style from "./report.css" with { type: "text" };
import { heldMemory, stalenessFacts } from "./facts.ts";
import { report, type RunReport } from "./report.ts";

function run(name: string, steps: number, modules: number): RunReport {
  const memory: MemoryReport = {
    peakBytes: 5 * 2 ** 20,
    arenaBytes: 4 * 2 ** 20,
    breakdown: { parameters: 2 ** 20, activations: 4 * 2 ** 20 },
    heldAtPeak: [],
    timeline: Array.from({ length: modules }, (_, i) => ({ scope: `module ${i + 1}`, liveBytes: 2 ** 20 })),
  };
  const lines: MetricsLine[] = [];
  for (let step = 1; step <= steps; step++) {
    const losses = Array.from({ length: modules }, (_, i) => i + 1 / step);
    lines.push({ kind: "step", step, losses, accuracy: 0.5, learningRate: 0.1 });
    if (step % 10 === 0) {
      lines.push({
        kind: "epoch",
        epoch: step / 10,
        testError: 0.125,
        testLoss: 1,
        imagesPerSecond: 99.6,
        plannedPeakBytes: memory.peakBytes,
        held: {
          bytes: 7 * 2 ** 20,
          dataBytes: 2 ** 20,
          driver: { usedBytes: 512 * 2 ** 20, takenBytes: 8 * 2 ** 20 },
          residentBytes: 600 * 2 ** 20,
        },
        loading: { imagesPerSecond: 812.4, waiting: 0.0312 },
        staleness: { mean: 1.26, most: 3 },
      });
    }
  }
  return {
    info: {
      configuration: { model: "resnet8", method: { name }, optimizer: { momentum: 0.9 } },
      epochs: 5,
      stepsPerEpoch: 10,
      imagesPerEpoch: 320,
      firstStep: 0,
      resumed: false,
      modules: Array.from({ length: modules }, (_, i) => `block${i}`),
      memory: { method: memory, endToEnd: { ...memory, peakBytes: 10 * 2 ** 20 } },
    },
    lines,
    settings: { dataset: "shapes" },
    seconds: 75,
  };
}

/** Checks that every element is closed. */
function assertBalanced(html: string): void {
  const stack: string[] = [];
  const body = html.replace(/<style>[^]*?<\/style>/, "");
  for (const [, close, name, rest] of body.matchAll(/<(\/?)([a-z0-9]+)((?:[^>"]|"[^"]*")*)>/g)) {
    if (rest.endsWith("/") || ["meta"].includes(name)) continue;
    if (close === "") stack.push(name);
    else assertEquals(stack.pop(), name);
  }
  assertEquals(stack, []);
}

Deno.test("lineChart() leaves out NaN and infinities, in marked and filled curves too", () => {
  const points = [[1, 2], [2, NaN], [3, Infinity], [4, 1]] as const;
  const series = [{ name: "a", points, colour: "red", marked: true, filled: true }];
  const html = lineChart(series, { title: "t", x: "x", format: String });
  assertBalanced(html);
  assertEquals(html.match(/<circle/g)?.length, 2);
  assert(!/NaN|Infinity|undefined/.test(html), html);
});

Deno.test("report() counts the epochs that were trained, evaluated or not", () => {
  const all = run("dgl", 40, 2);
  const kept = all.lines.filter((line) => line.kind === "step" || line.epoch % 3 === 0);
  assertStringIncludes(report([{ ...all, lines: kept }]), "<dt>epochs</dt><dd>4 of 5</dd>");
  assertStringIncludes(report([{ ...all, lines: [] }]), "<dt>epochs</dt><dd>0 of 5</dd>");
});

Deno.test("report() shows curves per module, errors, memory and the configuration of a run", () => {
  const html = report([run("man+dgl", 50, 3)]);
  assertBalanced(html);
  for (
    const text of [
      "Training loss of each module",
      "3: block2",
      "12.5 %",
      "5 MiB",
      "optimizer.momentum",
      "6 MiB, plus 1 MiB of data",
      "8 MiB, plus 504 MiB of context and other programs",
      "600 MiB resident",
      "812",
      "3.1 %",
      "1.3 steps, at most 3",
    ]
  ) {
    assertStringIncludes(html, text);
  }
  assertEquals(html.match(/<svg/g)!.length, 4);
});

Deno.test("report() is self-contained and escapes all text", () => {
  const html = report([run('<b>"x"</b>', 20, 2)]);
  assertBalanced(html);
  assert(!html.includes("<b>"));
  assert(!/\b(src|href)=|url\(|@import|https?:/.test(html.replace("http://www.w3.org/2000/svg", "")));
});

Deno.test("report() compares several runs in a table", () => {
  const html = report([run("endToEnd", 20, 1), run("greedy", 20, 3)]);
  assertBalanced(html);
  assertMatch(
    html,
    /<td>greedy<\/td><td>3<\/td><td>12\.50 %<\/td><td>12\.50 %<\/td><td>5 MiB<\/td><td>50 %</,
  );
  assertStringIncludes(html, "1 min 15 s");
});

Deno.test("report() takes a run without records, and a very long one", () => {
  assertBalanced(report([run("dgl", 0, 2)]));
  const html = report([run("dgl", 100_000, 60)]);
  assertBalanced(html);
  assert(html.length < 2_000_000, `${html.length}`);
});

Deno.test("ticks() are round, ascending, and span the values", () => {
  for (const [low, high] of [[0, 1], [0, 0], [3, 3], [0, 7e-5], [0, 12345], [1, 400], [-2, 5], [0.1, 0.3]]) {
    const values = ticks(low, high);
    assert(values[0] <= low && values[values.length - 1] >= high, `${low} ${high}: ${values}`);
    assert(values.length >= 2 && values.length <= 12, `${values}`);
    for (let i = 1; i < values.length; i++) assert(values[i] > values[i - 1]);
  }
  assertEquals(ticks(0, 10), [0, 2, 4, 6, 8, 10]);
});

Deno.test("thin() keeps the mean, and every point where there are few", () => {
  const points = Array.from({ length: 1003 }, (_, i) => [i, i % 2] as const);
  const few = thin(points, 100);
  assert(few.length <= 101);
  for (const [, y] of few) assert(Math.abs(y - 0.5) < 0.1);
  assertEquals(thin([[1, 2], [3, 4]], 100), [[1, 2], [3, 4]]);
  assertEquals(thin([], 100), []);
});

Deno.test("formatBytes(), formatPercent() and formatTime() round for people", () => {
  assertEquals([0, 1023, 1536, 5 * 2 ** 30].map(formatBytes), ["0 B", "1023 B", "1.5 KiB", "5 GiB"]);
  assertEquals([formatPercent(0.12345), formatPercent(1), formatPercent(0.5555, 0)], [
    "12.35 %",
    "100 %",
    "56 %",
  ]);
  assertEquals([9.44, 59.96, 185, 7620].map(formatTime), ["9.4 s", "1 min 00 s", "3 min 05 s", "2 h 07 min"]);
});

Deno.test("labels of charts fit where text is drawn at its largest", () => {
  const [, size] = style.match(/@container[^]*?font-size: (\d+)px/) ?? [];
  const points = Array.from({ length: 20 }, (_, i) => [i, 1000 * 2 ** 20] as const);
  const stretches = points.map(([i]) => ({ from: i, to: i + 1, name: `${i + 1}` }));
  const html = lineChart([{ name: "a", points, colour: "red" }], {
    title: "t",
    x: "x",
    format: formatBytes,
    unit: 2 ** 20,
    stretches,
  });
  const labels = [...html.matchAll(/class="tick (end|middle)" x="([\d.]+)"[^>]*>([^<]+)</g)]
    .map(([, kind, x, text]) => ({ kind, x: Number(x), width: text!.length * 0.56 * Number(size) }));
  const left = labels.filter(({ kind }) => kind === "end");
  assert(left.length > 3 && left.every(({ x, width }) => width <= x), JSON.stringify(left));
  const below = labels.filter(({ kind }) => kind === "middle").slice(0, -1); // the last is the axis's
  assertEquals(below.length, 10);
  below.slice(1).forEach(({ x, width }, i) => assert(x - width / 2 > below[i]!.x + below[i]!.width / 2));
});

Deno.test("tables of a report are scrolled, and break no words", () => {
  const html = report([run("dgl", 10, 2), run("greedy", 10, 2)]);
  assertEquals(html.match(/<table>/g)?.length, html.match(/<div class="wide" tabindex="0"><table>/g)?.length);
  assert(!/overflow-wrap: anywhere|word-break/.test(style));
});

Deno.test("a report says how old tracked blocks were, on average and at most", () => {
  assertMatch(report([run("man+dgl", 10, 2)]), /<dt>staleness<\/dt><dd>1\.3 steps, at most 3<\/dd>/);
  assertEquals(stalenessFacts(undefined), []);
});

Deno.test("heldMemory() names memory of data only where there is some: a folder of images is streamed", () => {
  assertEquals(heldMemory({ bytes: 2 ** 20, dataBytes: 0 }), [["allocated", "1 MiB"]]);
});
