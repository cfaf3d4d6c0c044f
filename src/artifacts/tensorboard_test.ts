import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { LocalgradError } from "../base/errors.ts";
import { crc32c } from "../base/crc32.ts";
import { scalarRecord } from "./event_file.ts";
import type { EpochRecord, RunInfo } from "./observer.ts";
import { tensorBoard } from "./tensorboard.ts";

/** CRC-32C by polynomial division, bit by bit: independent of the table. */
function checksum(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc % 2n === 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n;
  }
  return Number(crc ^ 0xffffffffn);
}

/** The mask of record_writer: rotated right by 15 bits, plus a constant. */
function masked(bytes: Uint8Array): number {
  const bits = checksum(bytes).toString(2).padStart(32, "0");
  return (parseInt(bits.slice(17) + bits.slice(0, 17), 2) + 0xa282ead8) % 2 ** 32;
}

/** The fields of a protobuf message by number: numbers of varints, bytes of all others. */
function fields(bytes: Uint8Array): [number, number | Uint8Array][] {
  const found: [number, number | Uint8Array][] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let unit = 1;; unit *= 128) {
      const byte = bytes[at++];
      value += byte % 128 * unit;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    if (key % 8 === 0) found.push([key >> 3, varint()]);
    else {
      const length = key % 8 === 1 ? 8 : key % 8 === 5 ? 4 : varint();
      found.push([key >> 3, bytes.slice(at, at += length)]);
    }
  }
  return found;
}

/** The records of an event file: "version", or step and values. Checks every length and checksum. */
function parse(bytes: Uint8Array<ArrayBuffer>): ("brain.Event:2" | [number, Record<string, number>])[] {
  const view = new DataView(bytes.buffer);
  const records: ("brain.Event:2" | [number, Record<string, number>])[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = view.getUint32(at, true);
    assertEquals(view.getUint32(at + 4, true), 0);
    assertEquals(view.getUint32(at + 8, true), masked(bytes.subarray(at, at + 8)));
    const data = bytes.slice(at + 12, at + 12 + length);
    assertEquals(view.getUint32(at + 12 + length, true), masked(data));
    const event = new Map(fields(data));
    const time = new DataView((event.get(1) as Uint8Array<ArrayBuffer>).buffer).getFloat64(0, true);
    assertEquals(Math.abs(time - Date.now() / 1000) < 600, true);
    if (event.has(3)) {
      assertEquals(new TextDecoder().decode(event.get(3) as Uint8Array), "brain.Event:2");
      records.push("brain.Event:2");
    } else {
      const values = fields(event.get(5) as Uint8Array).map(([, value]) => {
        const { 1: tag, 2: scalar } = Object.fromEntries(fields(value as Uint8Array));
        const number = new DataView((scalar as Uint8Array<ArrayBuffer>).buffer).getFloat32(0, true);
        return [new TextDecoder().decode(tag as Uint8Array), number];
      });
      records.push([event.get(2) as number, Object.fromEntries(values)]);
    }
    at += length + 16;
  }
  return records;
}

const memory = { peakBytes: 1, arenaBytes: 1, breakdown: {}, heldAtPeak: [], timeline: [] };

const info = (firstStep: number, resumed = firstStep > 0): RunInfo => ({
  configuration: {},
  epochs: 3,
  stepsPerEpoch: 2,
  imagesPerEpoch: 64,
  firstStep,
  resumed,
  modules: ["a", "b"],
  memory: { method: memory, endToEnd: memory },
});

const epoch = (n: number): EpochRecord => ({
  epoch: n,
  testError: 0.5 / n,
  testLoss: 2,
  imagesPerSecond: 100,
  plannedPeakBytes: 1,
  held: { bytes: 4096, dataBytes: 0 },
  metrics: { recall: 0.75 },
  best: true,
});

async function run(folder: string, start: RunInfo, to: number): Promise<void> {
  const observer = tensorBoard(folder);
  await observer.start?.(start);
  for (let step = start.firstStep + 1; step <= to; step++) {
    const losses = [step, step / 2];
    await observer.step?.({ step, epoch: 1, losses, accuracy: 0.75, learningRate: 0.5, images: 32 });
    if (step % 2 === 0) await observer.epoch?.(epoch(step / 2));
  }
  await observer.end?.("done");
}

const files = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => `${folder}/${name}`).sort();
const stepsIn = (records: ReturnType<typeof parse>) =>
  records.filter((each) => each !== "brain.Event:2").map(([step, values]) =>
    `${step}${"step/error" in values ? "" : "e"}`
  );

Deno.test("crc32c() has the check value of CRC-32C, and that of RFC 3720 for 32 zeros", () => {
  assertEquals(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  assertEquals(crc32c(new Uint8Array(32)), 0x8a9136aa);
});

Deno.test("scalarRecord() keeps steps beyond 32 bits, long messages and values that are not finite", () => {
  const scalars = Array.from({ length: 40 }, (_, i) => [`tag ${i} é`, i === 3 ? NaN : i / 8] as const);
  const step = 2 ** 40 + 300;
  const wallTime = Date.now() / 1000;
  assertEquals(parse(scalarRecord({ step, wallTime, scalars })), [[step, Object.fromEntries(scalars)]]);
});

Deno.test("tensorBoard() writes steps and epochs under tags of their own", () =>
  inFolder(async (dir) => {
    await run(`${dir}/new`, info(0), 2);
    const [path, ...others] = files(`${dir}/new`);
    assertEquals([/events\.out\.tfevents\.\d{10}\.localgrad$/.test(path), others], [true, []]);
    const values = (step: number) => ({
      "step/loss/module_1": step,
      "step/loss/module_2": step / 2,
      "step/error": 0.25,
      "step/learning_rate": 0.5,
    });
    assertEquals(parse(await Deno.readFile(path)), [
      "brain.Event:2",
      [1, values(1)],
      [2, values(2)],
      [2, {
        "epoch/test_error": 0.5,
        "epoch/test_loss": 2,
        "epoch/images_per_second": 100,
        "epoch/allocated_bytes": 4096,
        "epoch/metrics/recall": 0.75,
      }],
    ]);
  }));

Deno.test("tensorBoard() calls errors on a validation split so", () =>
  inFolder(async (dir) => {
    await run(dir, { ...info(0), validationImages: 3 }, 2);
    const [path = ""] = files(dir);
    const tags = parse(await Deno.readFile(path)).flatMap(([, values]) => Object.keys(values));
    assertEquals(tags.filter((tag) => /test|validation/.test(tag)), [
      "epoch/validation_error",
      "epoch/validation_loss",
    ]);
  }));

Deno.test("tensorBoard() begins a file with each attempt, and its steps rise over all files", () =>
  inFolder(async (dir) => {
    await run(dir, info(0), 5); // killed after step 5; the last checkpoint is that of step 2
    const [first] = files(dir);
    await Deno.writeFile(first, new Uint8Array(9), { append: true }); // a record that was not completely written
    await run(dir, info(2), 4);
    await run(dir, info(3), 6);
    const all = files(dir);
    assertEquals(all.length, 3);
    assertEquals(await Promise.all(all.map(async (path) => stepsIn(parse(await Deno.readFile(path))))), [
      ["1", "2", "2e"],
      ["3"],
      ["4", "4e", "5", "6", "6e"],
    ]);
    await run(dir, info(0, true), 1); // resumed from its start
    assertEquals(
      await Promise.all(files(dir).map(async (path) => stepsIn(parse(await Deno.readFile(path))))),
      [
        [],
        [],
        [],
        ["1"],
      ],
    );
  }));

Deno.test("tensorBoard() refuses the events of another run, and leaves nothing of a run without a step", () =>
  inFolder(async (dir) => {
    await run(`${dir}/a`, info(0), 0);
    await assertRejects(() => Deno.stat(`${dir}/a`), Deno.errors.NotFound);
    await run(`${dir}/a`, info(0), 1);
    await assertRejects(() => run(`${dir}/a`, info(0), 1), LocalgradError, "has events of another run");
    assertThrows(() => tensorBoard(""), LocalgradError, "the folder is empty");
    const path = files(`${dir}/a`)[0];
    await assertRejects(() => run(path, info(0), 1), LocalgradError, "is not a folder");
  }));
