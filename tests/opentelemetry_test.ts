/** The observer for OpenTelemetry, through Deno's exporter: a collector receives what a process records. */

import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../src/base/errors.ts";
import { openTelemetry } from "../src/opentelemetry.ts";
import { root } from "./serve.ts";

const SCRIPT = `
import { openTelemetry } from "./src/opentelemetry.ts";

const memory = { peakBytes: 3000, arenaBytes: 1, breakdown: {}, heldAtPeak: [], timeline: [] };
const observer = openTelemetry({ attributes: { run: "first" } });
await observer.start({
  configuration: { model: "resnet8", method: { name: "dgl" } },
  epochs: 1, stepsPerEpoch: 2, imagesPerEpoch: 60, firstStep: 0, resumed: false,
  modules: ["a", "b"],
  memory: { method: memory, endToEnd: memory },
});
const step = { epoch: 1, accuracy: 0.75, learningRate: 0.5, images: 30 };
await observer.step({ ...step, step: 1, losses: [4, 3] });
await observer.step({ ...step, step: 2, losses: [2, NaN] });
const held = { bytes: 4096, dataBytes: 0 };
await observer.epoch({
  epoch: 1, testError: 0.25, testLoss: 2, imagesPerSecond: 100, plannedPeakBytes: 3000, held, best: true,
});
`;

interface Point {
  readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue: string } }[];
  readonly asDouble?: number;
  readonly asInt?: number;
}

interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly sum?: { readonly dataPoints: readonly Point[] };
  readonly gauge?: { readonly dataPoints: readonly Point[] };
}

Deno.test("openTelemetry() calls errors on a validation split so", async () => {
  const names: string[] = [];
  const make = (name: string) => {
    names.push(name);
    return { add() {}, record() {} };
  };
  const observer = openTelemetry({ meter: { createCounter: make, createGauge: make } });
  const memory = { peakBytes: 1, arenaBytes: 1, breakdown: {}, heldAtPeak: [], timeline: [] };
  await observer.start?.({
    configuration: {},
    epochs: 1,
    stepsPerEpoch: 1,
    imagesPerEpoch: 1,
    firstStep: 0,
    resumed: false,
    modules: ["a"],
    memory: { method: memory, endToEnd: memory },
    validationImages: 3,
  });
  const held = { bytes: 1, dataBytes: 0 };
  const rest = { imagesPerSecond: 1, plannedPeakBytes: 1, held, best: true };
  await observer.epoch?.({ epoch: 1, testError: 0.5, testLoss: 1, ...rest });
  assertEquals(names.filter((name) => /test|validation/.test(name)), [
    "localgrad.validation.error",
    "localgrad.validation.loss",
  ]);
});

Deno.test("openTelemetry() records counters and gauges, which Deno exports without a permission", async () => {
  const received = new Map<string, string>();
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const body = await request.json();
    const scopes = body.resourceMetrics?.flatMap(({ scopeMetrics }: { scopeMetrics: unknown }) =>
      scopeMetrics
    ) ?? [];
    const found: Metric[] = scopes.flatMap(({ metrics }: { metrics: readonly Metric[] }) => metrics);
    for (const { name, unit, sum, gauge } of found.filter(({ name }) => name.startsWith("localgrad."))) {
      for (const { attributes, asDouble, asInt } of (sum ?? gauge)?.dataPoints ?? []) {
        const texts = attributes.map(({ key, value }) => `${key}=${value.stringValue}`).sort();
        received.set([name, ...texts].join(" "), `${asDouble ?? asInt} ${unit}`);
      }
    }
    return Response.json({});
  });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--ext=ts", "-"],
    cwd: root,
    env: {
      NO_COLOR: "1",
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${server.addr.port}`,
    },
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(SCRIPT));
  await writer.close();
  const { code, stderr } = await child.output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const all = "localgrad.method=dgl localgrad.model=resnet8 run=first";
  const module = (name: string) =>
    `localgrad.method=dgl localgrad.model=resnet8 localgrad.module=${name} run=first`;
  assertEquals(Object.fromEntries([...received].sort()), {
    [`localgrad.epoch ${all}`]: "1 {epoch}",
    [`localgrad.memory.allocated ${all}`]: "4096 By",
    [`localgrad.memory.planned ${all}`]: "3000 By",
    [`localgrad.test.error ${all}`]: "0.25 1",
    [`localgrad.test.loss ${all}`]: "2 1",
    [`localgrad.train.error ${all}`]: "0.25 1",
    [`localgrad.train.images ${all}`]: "60 {image}",
    [`localgrad.train.learning_rate ${all}`]: "0.5 1",
    [`localgrad.train.loss ${module("1: a")}`]: "2 1",
    [`localgrad.train.loss ${module("2: b")}`]: "3 1",
    [`localgrad.train.speed ${all}`]: "100 {image}/s",
    [`localgrad.train.steps ${all}`]: "2 {step}",
  });
});

Deno.test("openTelemetry() refuses options that it does not have", () => {
  assertThrows(
    () => openTelemetry({ meters: {} } as never),
    LocalgradError,
    'openTelemetry has no option "meters"; did you mean "meter"?',
  );
});
