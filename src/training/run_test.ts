import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { tinyDataset } from "../../tests/tiny.ts";
import { bits, make, recorder, stopBefore } from "../../tests/tiny_trainer.ts";
import type { Observer, Snapshot } from "../artifacts/observer.ts";
import { readRun, runFolder } from "../artifacts/run_folder.ts";
import { LocalgradError } from "../base/errors.ts";
import { dgl } from "../local/methods/dgl.ts";
import type { Device } from "../runtime/arrays.ts";
import { open } from "../runtime/devices.ts";

const data = tinyDataset(40, 10); // 3 steps per epoch

/** The result of an uninterrupted run of two epochs. */
async function whole(device: Device): Promise<unknown> {
  using t = await make({ device, method: dgl() });
  await t.fit(data, { epochs: 2, observers: [] });
  return bits(await t.snapshot());
}

Deno.test("fit(), stopped before its first step, resumes like an uninterrupted run", async () => {
  await using device = await open("cpu");
  const checkpoint = await Deno.makeTempDir();
  const options = { epochs: 2, observers: [], checkpoint };
  using first = await make({ device, method: dgl() });
  assertEquals((await first.fit(data, { ...options, signal: AbortSignal.abort() })).stopped, true);
  using second = await make({ device, method: dgl() });
  await second.fit(data, { ...options, resume: true });
  assertEquals(bits(await second.snapshot()), await whole(device));
  await Deno.remove(checkpoint, { recursive: true });
});

Deno.test("fit() saves a run resumed in another folder, or with other settings, at its start", async () => {
  await using device = await open("cpu");
  await inFolder(async (dir) => {
    const checkpoint = `${dir}/a`;
    using t = await make({ device, method: dgl(), schedule: (epoch) => epoch === 0 ? 0.05 : 1e30 });
    await t.fit(data, { epochs: 1, observers: [] });
    const before = await t.snapshot();
    const fitting = t.fit(data, { epochs: 3, observers: [], checkpoint });
    assertEquals((await assertRejects(() => fitting, LocalgradError)).code, "diverged");
    const { snapshot } = await readRun(checkpoint, "last");
    assertEquals([snapshot.step, bits(snapshot)], [3, bits(before)]);

    using other = await make({ device, method: dgl() });
    other.restore(before);
    const folder = runFolder(checkpoint, { epochs: 5 });
    let saved: unknown;
    const looks: Observer = {
      step: async () => void (saved ??= (await readRun(checkpoint, "last")).settings),
    };
    await other.fit(data, { epochs: 2, observers: [folder, looks] });
    assertEquals(saved, { epochs: 5 });
    const empty = { epochs: 1, observers: [], checkpoint: "" };
    await assertRejects(() => other.fit(data, empty), LocalgradError, "the path of a run's folder is empty");
  });
});

Deno.test("fit() saves within epochs, and a run resumed from there ends like an uninterrupted one", async () => {
  await using device = await open("cpu");
  const expected = await whole(device);
  const cases = [
    [{ steps: 2 }, [0, 2, 3, 4, 6]], // the state after an epoch's last step is saved only after the evaluation
    [{ steps: 3 }, [0, 3, 6]],
    [{ minutes: 0 }, [0, 1, 2, 3, 4, 5, 6]],
    [{ minutes: 60 }, [0, 3, 6]],
  ] as const;
  for (const [saveEvery, steps] of cases) {
    const saved: Snapshot[] = [];
    const told: number[] = [];
    const observer: Observer = {
      step: ({ step }) => void told.push(step),
      save: (snapshot) => {
        assertEquals(told.at(-1) ?? 0, snapshot.step); // no checkpoint is ahead of the records
        saved.push(snapshot);
      },
    };
    using t = await make({ device, method: dgl() });
    await t.fit(data, { epochs: 2, observers: [observer], saveEvery });
    assertEquals(saved.map(({ step }) => step), steps);
    assertEquals(bits(await t.snapshot()), expected);
    if (!("minutes" in saveEvery && saveEvery.minutes === 0)) continue;
    for (const snapshot of saved) {
      using resumed = await make({ device, method: dgl() });
      resumed.restore(snapshot);
      await resumed.fit(data, { epochs: 2, observers: [] });
      assertEquals(bits(await resumed.snapshot()), expected);
    }
  }
  using t = await make({ device });
  for (const saveEvery of [{ steps: 0 }, { steps: 1.5 }, { minutes: -1 }, { minutes: NaN }]) {
    await assertRejects(
      () => t.fit(data, { epochs: 1, observers: [], saveEvery }),
      LocalgradError,
      "saveEvery",
    );
  }
});

Deno.test("an observer that throws ends the run once its state is saved, and all others are notified of the end", async () => {
  await using device = await open("cpu");
  for (const when of ["start", "step", "epoch", "save", "end"] as const) {
    const told: string[] = [];
    const thrower: Observer = {
      ...(when === "save" ? {} : { save: undefined! }),
      [when]: () => {
        told.push(when);
        throw new RangeError(when);
      },
    };
    if (when !== "save") delete thrower.save;
    const before = recorder(), after = recorder();
    using t = await make({ device, method: dgl() });
    const observers = [before.observer, thrower, after.observer];
    const error = await assertRejects(() => t.fit(data, { epochs: 2, observers }), RangeError, when);
    assertEquals([error.message, told], [when, [when]]);
    for (const { events } of [before, after]) {
      assertEquals(events.filter((event) => event === "failed").length, when === "end" ? 0 : 1, when);
    }
    if (when === "start") {
      assertEquals(before.steps, []);
      continue;
    }
    // The observers that save have the state, from which the run resumes to the same end.
    assertEquals(after.saved().step, t.stepsDone);
    assertEquals(before.saved().step, t.stepsDone);
    using resumed = await make({ device, method: dgl() });
    resumed.restore(after.saved());
    await resumed.fit(data, { epochs: 2, observers: [] });
    assertEquals(bits(await resumed.snapshot()), await whole(device));
  }
});

Deno.test("observers that save are notified before those that display, in any order", async () => {
  await using device = await open("cpu");
  using t = await make({ device, method: dgl() });
  const events: string[] = [];
  const shows: Observer = {
    epoch: () => void events.push("shown"),
    end: () => void events.push("end shown"),
  };
  const saves: Observer = {
    epoch: () => void events.push("recorded"),
    save: (_, kinds) => void events.push(`saved ${kinds}`),
    end: () => void events.push("end recorded"),
  };
  await t.fit(data, { epochs: 1, observers: [shows, saves] });
  assertEquals(events, ["saved last", "recorded", "saved best,last", "shown", "end recorded", "end shown"]);
});

Deno.test("fit() never saves a NaN or an infinity, and names the tensor that holds it", async () => {
  await using device = await open("cpu");
  const diverges = async (
    schedule: (epoch: number) => number,
    from: Snapshot | undefined,
    evaluateEvery = 1,
  ) => {
    using t = await make({ device, schedule, method: dgl() });
    if (from !== undefined) t.restore(from);
    const { observer, events } = recorder();
    const fitting = t.fit(tinyDataset(16, 10), { epochs: 4, observers: [observer], evaluateEvery });
    const error = await assertRejects(() => fitting, LocalgradError);
    assertEquals(error.code, "diverged");
    assertEquals(events.at(-1), "failed");
    return { message: error.message, saves: events.filter((event) => event.startsWith("save")).length };
  };
  // One step per epoch: the evaluation is the first to read the parameters that diverge in the third step.
  const late = await diverges((epoch) => epoch < 2 ? 0.01 : 1e30, undefined);
  assertMatch(
    late.message,
    /the test loss became NaN after step 3, epoch 3; lower the learning rate \(1e\+30\)/,
  );
  assertEquals(late.saves, 3);
  // In a statistic that no training step reads, and in an optimizer slot of one module.
  using t = await make({ device, method: dgl() });
  const start = await t.snapshot();
  const spoil = (name: string, value: number): Snapshot => {
    const tensors = new Map(start.tensors);
    const array = tensors.get(name)!;
    const data = Float32Array.from(array.data as Float32Array);
    data[1] = value;
    tensors.set(name, Object.assign(Object.create(Object.getPrototypeOf(array)), array, { data }));
    return { ...start, tensors };
  };
  const refused = async (from: Snapshot, message: RegExp, code?: "diverged") => {
    const { observer, events } = recorder();
    for (const observers of code === undefined ? [[observer]] : [[]]) {
      using t = await make({ device, method: dgl() });
      t.restore(from);
      const error = await assertRejects(() => t.fit(data, { epochs: 1, observers }), LocalgradError);
      assertMatch(error.message, message);
      assertEquals(error.code, code);
    }
    assertEquals(events.filter((event) => event.startsWith("save")), []);
  };
  await refused(
    spoil("layer1.1.bn1.running_mean", Infinity),
    /fit: layer1\.1\.bn1\.running_mean of module 2 \(layer1\.1\) holds Infinity before the first step;/,
  );
  await refused(spoil("optimizer.momentum.layer2.0.conv2.weight", -Infinity), /module 3 \(layer2\.0\)/);
  // Also if no observer saves.
  await refused(
    spoil("layer1.1.bn1.running_mean", NaN),
    /layer1\.1\.bn1\.running_mean of module 2 .* holds NaN after step 3;/,
    "diverged",
  );
});

Deno.test("fit() stops at the signal, with its state saved", async () => {
  await using device = await open("cpu");
  using t = await make({ device, method: dgl() });
  const { observer, events, saved } = recorder();
  await t.fit(data, { epochs: 2, observers: [observer], signal: stopBefore(4) });
  assertEquals([saved().step, t.stepsDone], [3, 3]);
  assertEquals(events, ["start", "save last", "epoch 1", "save best,last", "stopped"]); // the state is saved once
  assert(t.resumed);
});
