import { assertAlmostEquals, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { inFolder } from "../../tests/in_folder.ts";
import { compare } from "../artifacts/comparison.ts";
import { progress } from "../artifacts/progress.ts";
import { readRun } from "../artifacts/run_folder.ts";
import { readReport } from "../artifacts/run_record.ts";
import type { PixelDataset } from "../data/label_maps.ts";
import { endToEnd } from "../local/methods/end_to_end.ts";
import type { Model } from "../models/model.ts";
import { constantInitial } from "../nn/initial.ts";
import { layer } from "../nn/layer.ts";
import { sgd } from "../optim/sgd.ts";
import { open } from "../runtime/devices.ts";
import { concat, stack } from "../trace/functions.ts";
import { trainer } from "./trainer.ts";

/** A network that marks, after n steps, the pixels that channel n − 1 has: what it learns changes nothing. */
const scripted: Model = {
  name: "scripted",
  input: { height: 4, width: 4, channels: 3 },
  classes: 2,
  task: "segmentation",
  stem: {},
  blocks: [{
    name: "count",
    layer: layer({
      state: { steps: constantInitial(0, [1]) },
      apply(_params, { steps }, x, mode) {
        const after = mode === "train" ? steps.add(1) : steps;
        const chosen = concat([1, 2, 3].map((step) => after.eq(step).cast("f32")));
        return { y: x.mul(255 / 2).mul(chosen).sum(3), state: { steps: after } };
      },
    }),
  }],
  head: {
    logits: layer({
      params: { scale: constantInitial(1, [1]) },
      apply: ({ scale }, state, x) => ({ y: stack([x.neg(), x.sub(1)], 3).mul(scale), state }),
    }),
  },
};

/** Sixteen pixels, of which the first two are of class 1, with what is found after each step: as many, from the first. */
function marked(found: readonly number[]): PixelDataset {
  const images = Uint8Array.from({ length: 48 }, (_, i) => i / 3 < (found[i % 3] ?? 0) ? 2 : 0);
  const map = Uint8Array.from({ length: 16 }, (_, i) => i < 2 ? 1 : 0);
  const part = { images, maps: map, count: 1 };
  return {
    task: "segmentation",
    name: "marked",
    classes: ["background", "object"],
    ...{ height: 4, width: 4, channels: 3, mean: [0, 0, 0], std: [1, 1, 1] },
    train: { images: Uint8Array.of(...images, ...images), maps: Uint8Array.of(...map, ...map), count: 2 },
    test: part,
  };
}

Deno.test("the best checkpoint of a segmentation has the highest mean IoU, not the lowest error", () =>
  inFolder(async (dir) => {
    await using device = await open("cpu");
    const make = () => trainer({ device, model: scripted, method: endToEnd(), optimizer: sgd(), batch: 2 });
    // Six pixels, none (the background everywhere), five: errors 4, 2 and 3 of 16.
    const set = marked([6, 0, 5]);
    const expected = [(10 / 14 + 2 / 6) / 2, (14 / 16 + 0) / 2, (11 / 14 + 2 / 5) / 2];
    const seen: [error: number, meanIoU: number | undefined, best: boolean][] = [];
    const text: string[] = [];
    const output = {
      terminal: false,
      columns: () => 80,
      write: (t: string) => void text.push(t),
      now: () => 0,
    };
    const observers = [
      { epoch: ({ testError, meanIoU, best }) => void seen.push([testError, meanIoU, best]) },
      progress(output),
    ] satisfies Parameters<Awaited<ReturnType<typeof make>>["fit"]>[1]["observers"];
    const checkpoint = `${dir}/run`;
    using half = await make();
    await half.fit(set, { epochs: 2, observers, checkpoint });
    using whole = await make();
    const result = await whole.fit(set, { epochs: 3, observers, checkpoint, resume: true });
    assertEquals(seen.map(([error, , best]) => [error * 16, best]), [[4, true], [2, false], [3, true]]);
    seen.forEach(([, iou], i) => assertAlmostEquals(iou!, expected[i]!, 1e-12));
    assertEquals([result.bestError, result.bestMeanIoU], [2 / 16, expected[2]]);
    assertEquals([whole.bestError, whole.bestMeanIoU], [2 / 16, expected[2]]);
    const marks = text.filter((line) => line.startsWith("epoch")).map((line) =>
      line.includes("the best so far")
    );
    assertEquals(marks, [true, false, true]);
    assertMatch(text.at(-1)!, /test error 18\.75 % {2}mean IoU 59\.29 %, the best so far/);

    const { snapshot } = await readRun(checkpoint, "best");
    assertEquals([snapshot.step, snapshot.bestMeanIoU], [3, expected[2]]);
    using restored = await make();
    restored.restore(snapshot);
    assertAlmostEquals((await restored.evaluate(set)).meanIoU!, expected[2]!, 1e-12);
    const [run] = compare(new Map([["run", await readReport(checkpoint)]])).runs;
    assertEquals([run!.bestEpoch, run!.bestError, run!.bestMeanIoU], [3, 2 / 16, expected[2]]);
    const page = await Deno.readTextFile(`${checkpoint}/report.html`);
    assertStringIncludes(page, "<dt>highest test mean IoU</dt><dd>59.29 %</dd>");

    // A snapshot of an earlier version has no mean IoU: its first evaluation is the best.
    const { bestMeanIoU: _, ...old } = (await readRun(checkpoint, "last")).snapshot;
    seen.length = 0;
    using later = await make();
    later.restore({ ...old, step: 1 });
    await later.fit(set, { epochs: 3, observers });
    assertEquals(seen.map(([, , best]) => best), [true, false]);

    // Early stopping follows the same figure: the error falls in the second epoch, and mean IoU does as well.
    using early = await make();
    const { stoppedEarly } = await early.fit(set, {
      epochs: 3,
      earlyStopping: { patience: 1 },
      observers: [],
    });
    assertEquals([stoppedEarly, early.stepsDone], [true, 2]);
  }));
