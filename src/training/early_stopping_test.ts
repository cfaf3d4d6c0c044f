import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { tinyDataset } from "../../tests/tiny.ts";
import { make, recorder } from "../../tests/tiny_trainer.ts";
import { readCheckpoint, writeCheckpoint } from "../artifacts/checkpoint.ts";
import type { Patience } from "../artifacts/observer.ts";
import { LocalgradError } from "../base/errors.ts";
import { constant } from "../optim/schedules.ts";
import { open } from "../runtime/devices.ts";
import { checkEarlyStopping, type EarlyStopping, patienceAfter } from "./early_stopping.ts";

const evaluation = (error: number, loss = error) => ({ error, loss, images: 10 });

Deno.test("patience counts evaluations since the last improvement", () => {
  const waits = (options: EarlyStopping, ...errors: number[]) => {
    let patience: Patience | undefined;
    return errors.map((error) =>
      (patience = patienceAfter(options, evaluation(error, 1 - error), patience)).waited
    );
  };
  assertEquals(waits({ patience: 2 }, 0.5, 0.4, 0.4, 0.3, 0.35), [0, 0, 1, 0, 1]);
  assertEquals(waits({ patience: 2, minDelta: 0.15 }, 0.5, 0.4, 0.34, 0.3), [0, 1, 0, 1]); // against the best that counted
  assertEquals(waits({ patience: 2, metric: "loss" }, 0.5, 0.4, 0.6), [0, 1, 0]);
  assertThrows(() => waits({ patience: 1, metric: "topFiveError" }, 0.5), LocalgradError, "few classes");
  for (
    const [options, message] of [
      [{ patience: 0 }, "patience must be a whole number of at least 1"],
      [{ patience: 1, minDelta: -1 }, "minDelta must be at least 0"],
      [{ patience: 1, metric: "accuracy" as "error" }, "must be one of error, topFiveError, loss"],
      [{ patience: 1, delta: 1 } as EarlyStopping, 'no option "delta"'],
    ] satisfies [EarlyStopping, string][]
  ) assertThrows(() => checkEarlyStopping(options, {}), LocalgradError, message);
});

Deno.test("patience of a segmentation is for mean IoU, which should rise", () => {
  const after = (options: EarlyStopping, meanIoU: number, before?: Patience) =>
    patienceAfter(options, { ...evaluation(0.5), meanIoU }, before);
  const first = after({ patience: 2 }, 0.25);
  assertEquals(first, { best: 0.25, waited: 0, rising: true });
  assertEquals(after({ patience: 2 }, 0.25, first).waited, 1);
  assertEquals(after({ patience: 2 }, 0.5, first), { best: 0.5, waited: 0, rising: true });
  assertEquals(after({ patience: 2, minDelta: 0.25 }, 0.5, first).waited, 1);
  // What was counted for a metric that should fall cannot be compared, nor the other way round.
  assertEquals(after({ patience: 2 }, 0.25, { best: 0.5, waited: 1 }), first);
  assertEquals(after({ patience: 2, metric: "error" }, 0.25, { ...first, waited: 1 }), {
    best: 0.5,
    waited: 0,
  });
  const pixels = { task: "segmentation" } as const;
  checkEarlyStopping({ patience: 1, metric: "meanIoU" }, pixels);
  const wrong = () => checkEarlyStopping({ patience: 1, metric: "topFiveError" }, pixels);
  assertThrows(wrong, LocalgradError, "must be one of meanIoU, error, loss");
  const images = () => checkEarlyStopping({ patience: 1, metric: "meanIoU" }, {});
  assertThrows(images, LocalgradError, "must be one of error, topFiveError, loss");
});

Deno.test("fit() stops early; a resumed run goes on counting where the saved one was", async () => {
  await using device = await open("cpu");
  const images = tinyDataset(32, 16);
  const options = { device, schedule: constant(0) }; // statistics alone change, so the test loss stays nearly the same
  const fit = (minDelta: number) => ({
    epochs: 9,
    earlyStopping: { patience: 3, metric: "loss", minDelta } as const,
  });
  using whole = await make(options);
  const all = recorder();
  const result = await whole.fit(images, { ...fit(10), observers: [all.observer] });
  assertEquals([result.stopped, result.stoppedEarly, whole.stepsDone], [false, true, 8]); // the first, and three more
  assertEquals(all.events.at(-1), "done");

  using begun = await make(options);
  const first = recorder();
  await begun.fit(images, { ...fit(10), epochs: 2, observers: [first.observer] });
  assertEquals(first.saved().patience?.waited, 1);
  const file = await Deno.makeTempFile();
  await writeCheckpoint(file, { snapshot: first.saved(), settings: {} });
  const { snapshot } = await readCheckpoint(file);
  await Deno.remove(file);
  assertEquals(snapshot.patience, first.saved().patience);
  using resumed = await make(options);
  resumed.restore(snapshot);
  assert((await resumed.fit(images, { ...fit(10), observers: [] })).stoppedEarly);
  assertEquals(resumed.stepsDone, 8);
  // A run that was stopped early does nothing more until its patience grows.
  assert((await resumed.fit(images, { ...fit(10), observers: [] })).stoppedEarly);
  assertEquals(resumed.stepsDone, 8);
  const more = {
    epochs: 9,
    earlyStopping: { patience: 4, metric: "loss", minDelta: 10 } as const,
    observers: [],
  };
  await resumed.fit(images, more);
  assertEquals(resumed.stepsDone, 10);
  await assertRejects(
    () => resumed.fit(images, { epochs: 1, earlyStopping: { patience: 0 } }),
    LocalgradError,
    "earlyStopping.patience",
  );
});
