import { assert, assertEquals, assertMatch } from "@std/assert";
import type { RunInfo } from "./observer.ts";
import { progress } from "./progress.ts";

const info = {
  configuration: { batch: 32 },
  epochs: 2,
  stepsPerEpoch: 100,
  imagesPerEpoch: 3200,
  firstStep: 0,
} as Partial<RunInfo> as RunInfo;

/** The output for two epochs of 100 steps, 50 ms each. */
function show(terminal: boolean, columns: number, modules: number): string[] {
  const written: string[] = [];
  let clock = 0;
  const observer = progress({
    terminal,
    columns: () => columns,
    write: (text) => written.push(text),
    now: () => clock,
  });
  observer.start!(info);
  for (let step = 1; step <= 200; step++) {
    clock += 50;
    const losses = Array.from({ length: modules }, (_, i) => i + 1);
    const epoch = Math.ceil(step / 100);
    observer.step!({ step, epoch, losses, accuracy: 0.25, learningRate: 0.1, images: 32 });
    if (step % 100 !== 0) continue;
    observer.epoch!({
      epoch,
      testError: 0.3,
      testLoss: 1,
      imagesPerSecond: 640,
      plannedPeakBytes: 1,
      held: { bytes: 4000, dataBytes: 1000 },
      best: epoch === 1,
      ...(epoch === 1 ? { staleness: { mean: 1.26, most: 3 } } : {}),
    });
  }
  observer.end!("done");
  return written;
}

Deno.test("progress() prints the remarks on a run", () => {
  const written: string[] = [];
  const output = {
    terminal: false,
    columns: () => 80,
    write: (text: string) => written.push(text),
    now: () => 0,
  };
  progress(output).start!({ ...info, remarks: ["the warm-up is long"] });
  assertEquals(written, ["the warm-up is long\n"]);
});

Deno.test("progress() redraws one line on a terminal, within its columns", () => {
  const written = show(true, 100, 3);
  const drawn = written.filter((text) => text.startsWith("\r\x1b[2K") && text.length > 6);
  assert(drawn.length > 50, `${drawn.length}`);
  for (const text of drawn) assert(text.length - 5 < 100 && !text.includes("\n"), text);
  assertMatch(
    drawn[9],
    /epoch 1\/2 ████░+ 20\/100 {2}loss 1\.000 2\.000 3\.000 {2}accuracy 25 % {2}640 images\/s {2}9\.0 s/,
  );
  assertEquals(written.join("").split("\n").length, 3); // a line for each epoch, and none left half-drawn
});

Deno.test("progress() writes plain lines where there is no terminal", () => {
  const written = show(false, 80, 3);
  assert(written.every((text) => text.endsWith("\n") && !text.includes("\x1b") && !text.includes("\r")));
  const lines = written.filter((text) => /^epoch \d\/2 {2}loss/.test(text));
  assertEquals(lines.length, 2);
  assertMatch(lines[0], / images\/s, tracked blocks 1\.3 steps old, at most 3\n$/);
  assertMatch(
    written.at(-1)!,
    /^epoch 2\/2 {2}loss 1\.000 2\.000 3\.000 {2}accuracy 25 % {2}test error 30.00 % {2}640 images\/s\n$/,
  );
});

Deno.test("progress() shows the loading of streamed images", () => {
  const written: string[] = [];
  const output = {
    terminal: false,
    columns: () => 80,
    write: (text: string) => written.push(text),
    now: () => 0,
  };
  const observer = progress(output);
  observer.start!(info);
  observer.epoch!({
    epoch: 1,
    testError: 0.3,
    testLoss: 1,
    imagesPerSecond: 640,
    plannedPeakBytes: 1,
    held: { bytes: 4000, dataBytes: 0 },
    loading: { imagesPerSecond: 812.4, waiting: 0.0312 },
    best: false,
  });
  assertMatch(written[0], /640 images\/s, 3\.1 % of the time waiting for images, 812\/s decoded\n$/);
});

Deno.test("progress() shows the accuracy of an epoch, also after epochs without an evaluation", () => {
  const written: string[] = [];
  const write = (text: string) => written.push(text);
  const observer = progress({ terminal: false, columns: () => 80, write, now: () => 0 });
  observer.start!(info);
  for (const [step, epoch, accuracy] of [[1, 1, 0], [2, 2, 0.5], [3, 2, 1]]) {
    observer.step!({ step, epoch, accuracy, losses: [epoch], learningRate: 0.1, images: 10 });
  }
  const held = { bytes: 0, dataBytes: 0 };
  const measures = { testError: 0.3, testLoss: 1, imagesPerSecond: 0, plannedPeakBytes: 1, held };
  observer.epoch!({ epoch: 2, ...measures, best: false });
  assertEquals(written, ["epoch 2/2  loss 2.000  accuracy 75 %  test error 30.00 %\n"]);
});

Deno.test("progress() warns once of a batch larger than the training images", () => {
  for (const [imagesPerEpoch, lines] of [[31, 1], [32, 0]]) {
    const written: string[] = [];
    const write = (text: string) => written.push(text);
    progress({ terminal: true, columns: () => 80, write, now: () => 0 }).start!({ ...info, imagesPerEpoch });
    assertEquals(written.length, lines);
    if (lines > 0) assertMatch(written[0], /batch of 32 is more than the 31 training images.*such as 4,/);
  }
});

Deno.test("progress() shortens the losses of many modules", () => {
  assertMatch(show(false, 80, 54).at(-1)!, /loss 1\.000 2\.000 3\.000 … 53\.000 54\.000 {2}/);
});
