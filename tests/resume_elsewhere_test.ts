/** A run that is resumed on another device, or with other threads: what it says, and its bits. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { progress } from "../src/artifacts/progress.ts";
import { readRun } from "../src/artifacts/run_folder.ts";
import { shapes } from "../src/data/shapes.ts";
import { dgl, man, trainer } from "../src/local.ts";
import { resnet8 } from "../src/models.ts";
import { publishedSgd } from "../src/optim/published.ts";
import { sgd } from "../src/optim/sgd.ts";
import type { Device } from "../src/runtime/arrays.ts";
import { inFolder } from "./in_folder.ts";
import { openRow, type Row, rows } from "./rows.ts";
import { bits } from "./tiny_trainer.ts";

const images = shapes({ train: 16, test: 8 });

/** A trainer of ResNet-8 in two modules, whose convolutions are oneDNN's where it is in use. */
const make = (device: Device) =>
  trainer({
    device,
    model: resnet8({ classes: 10 }),
    modules: 2,
    method: man(dgl()),
    optimizer: sgd(publishedSgd),
    batch: 8,
  });

/** The lines of {@link progress}. */
function lines() {
  const written: string[] = [];
  const output = {
    terminal: false,
    columns: () => 80,
    write: (text: string) => void written.push(text),
    now: () => 0,
  };
  return { observer: progress(output), written };
}

for (const { row, ignore } of await rows("cpu", "cpu-onednn")) {
  Deno.test(
    `training on ${row} has the same bits with 1, 2 and 3 threads, and stopped and resumed with others`,
    { ignore },
    () =>
      inFolder(async (dir) => {
        const train = async (threads: number, epochs: number, checkpoint?: string) => {
          await using device = await openRow(row, { threads });
          using t = await make(device);
          const { observer, written } = lines();
          const kept = checkpoint === undefined ? {} : { checkpoint, resume: true };
          await t.fit(images, { epochs, observers: [observer], ...kept });
          assertEquals(t.devices, [{ arithmetic: device.arithmetic, firstStep: 0 }]);
          assertEquals(written.filter((line) => line.includes("resumed on")), []);
          return bits(await t.snapshot());
        };
        const one = await train(1, 2);
        await train(3, 1, `${dir}/run`);
        assertEquals(await train(2, 2, `${dir}/run`), one);
      }),
  );
}

/** Trains an epoch on one row and resumes on another. */
async function moved(dir: string, from: Row, to: Row) {
  const checkpoint = `${dir}/${from}-${to}`;
  await using first = await openRow(from, { threads: 2 });
  {
    using t = await make(first);
    await t.fit(images, { epochs: 1, observers: [], checkpoint });
  }
  await using second = await openRow(to, { threads: 2 });
  using t = await make(second);
  const { observer, written } = lines();
  await t.fit(images, { epochs: 2, observers: [observer], checkpoint, resume: true });
  const expected = [{ arithmetic: first.arithmetic, firstStep: 0 }, {
    arithmetic: second.arithmetic,
    firstStep: 2,
  }];
  assertEquals(t.devices, expected);
  assertEquals((await readRun(checkpoint, "last")).snapshot.devices, expected);
  assertEquals(
    written[0],
    `resumed on ${second.arithmetic}; before it was ${first.arithmetic}, so the last bits will differ from those of ` +
      "an uninterrupted run\n",
  );
  const report = await Deno.readTextFile(`${checkpoint}/report.html`);
  assertStringIncludes(report, `${first.arithmetic}; from step 3: ${second.arithmetic}`);
  // Resumed once more where it was, it says nothing new.
  using again = await make(second);
  const after = lines();
  await again.fit(images, { epochs: 3, observers: [after.observer], checkpoint, resume: true });
  assertEquals(after.written.filter((line) => line.includes("resumed on")), []);
  assertEquals(again.devices, expected);
}

const [, { ignore = true } = {}] = await rows("cpu", "cpu-onednn");
Deno.test(
  "a run resumed with another engine of the CPU says so in one line",
  { ignore },
  () => inFolder((dir) => moved(dir, "cpu", "cpu-onednn")),
);

Deno.test("a run resumed on another backend, or begun by an earlier version, tells what is known", async () => {
  await using cpu = await openRow("cpu", { threads: 1 });
  using t = await make(cpu);
  const { devices: _, ...earlier } = await t.snapshot();
  t.restore({ ...earlier, step: 4 });
  assertEquals(t.devices, [{ arithmetic: "cpu, WebAssembly", firstStep: 4 }]);
  const elsewhere = { arithmetic: "webgpu, a card", firstStep: 0 };
  t.restore({ ...earlier, step: 4, devices: [elsewhere] });
  assertEquals(t.devices, [elsewhere, { arithmetic: "cpu, WebAssembly", firstStep: 4 }]);
});
