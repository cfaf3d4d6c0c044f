import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { resnet8 } from "../../models.ts";
import { sgd } from "../../optim.ts";
import { publishedSgd } from "../../optim/published.ts";
import { target } from "../../runtime/devices.ts";
import { dgl } from "../methods/dgl.ts";
import { endToEnd } from "../methods/end_to_end.ts";
import { man } from "../methods/man.ts";
import { TYPICAL } from "../step_time.ts";
import { withinLimit } from "./limit.ts";
import { planWay } from "./way.ts";

const run = {
  model: resnet8(),
  optimizer: sgd(publishedSgd),
  batch: 32,
  target: await target("cpu", { threads: 2 }),
};
const CUTS = [["layer1.0"], ["layer2.0"], ["layer1.0", "layer2.0"]];

Deno.test("within a limit the fastest of all ways that fit is chosen", () => {
  const methods = [endToEnd(), dgl()];
  const all = methods.flatMap((method) =>
    (method.auxiliary === undefined ? [[]] : CUTS).flatMap((after) =>
      [false, true].map((recompute) =>
        planWay({ ...run, speeds: TYPICAL }, { method, modules: { after }, accumulate: 1, recompute })
      )
    )
  );
  const peaks = all.map(({ peakBytes }) => peakBytes).toSorted((a, b) => a - b);
  const chosen = [0, peaks.length - 1].map((rank) => {
    const limit = Math.ceil(1.003 * at(peaks, rank));
    const way = withinLimit({ ...run, memoryLimit: limit, method: methods });
    const fitting = all.filter(({ peakBytes }) => peakBytes <= limit);
    assert(way.peakBytes <= limit);
    // The choice of values to recompute is not exact.
    assert(way.seconds <= 1.005 * Math.min(...fitting.map(({ seconds }) => seconds)));
    return way;
  });
  assert(at(chosen, 0).seconds > at(chosen, 1).seconds);
  const { peakBytes } = at(all, 0);
  const alone = withinLimit({ ...run, memoryLimit: Math.ceil(0.6 * peakBytes), method: endToEnd() });
  const { next } = alone;
  assert(next !== undefined && next.peakBytes > alone.peakBytes && next.seconds < alone.seconds);
});

Deno.test("what is given stays, and what cannot fit is refused with the least that can", () => {
  const limit = { ...run, memoryLimit: "1GiB", method: man(dgl()) };
  assertEquals(
    withinLimit({ ...limit, modules: 2, accumulate: 4 }).description.split(" (")[0],
    "man+dgl, 2 modules",
  );
  assertEquals(withinLimit({ ...limit, modules: 2, accumulate: 4 }).accumulate, 4);
  assertEquals(withinLimit({ ...limit, modules: { after: ["layer1.0"] } }).modules, { after: ["layer1.0"] });
  const error = assertThrows(
    () => withinLimit({ ...limit, modules: 2, memoryLimit: "1MiB" }),
    LocalgradError,
    "memoryLimit: nothing that was tried fits into 1.00 MiB; the least limit is ",
  );
  const [, least] = /the least limit is ([0-9.]+) MiB, with man\+dgl, 2 modules/.exec(error.message) ?? [];
  assert(
    withinLimit({ ...limit, modules: 2, memoryLimit: `${least}MiB` }).peakBytes <= Number(least) * 2 ** 20,
  );
});

Deno.test("micro-batches are chosen where that is asked for", () => {
  const method = endToEnd();
  const alone = withinLimit({ ...run, memoryLimit: "1GiB", method });
  const memoryLimit = Math.floor(0.6 * alone.peakBytes);
  assertEquals(withinLimit({ ...run, memoryLimit, method, accumulate: "auto" }).accumulate, 2);
});

Deno.test("impossible options of a limit are refused", () => {
  const limit = { ...run, memoryLimit: "1GiB", method: dgl() };
  const refused: readonly [options: object, message: string][] = [
    [
      { memoryLimit: "much" },
      'withinLimit: memoryLimit must be a size such as 512MiB, 1.5GiB or 80GB, not "much"',
    ],
    [{ method: [] }, "withinLimit: the list of methods is empty; give at least one"],
    [{ batch: [] }, "withinLimit: the list of batches is empty; give at least one"],
    [{ batch: [8, 0.5] }, "withinLimit: batch must be a whole number of at least 1, not 0.5"],
    [{ modules: "all" }, 'withinLimit: modules may be "auto", not "all"'],
    [{ accumulate: "some" }, 'withinLimit: accumulate may be "auto", not "some"'],
    [
      { batch: [32, 8], accumulate: 6 },
      "withinLimit: accumulate, the micro-batches of a batch of 8, at least 2 images each, must be a whole number from 1 to 4",
    ],
  ];
  for (const [options, message] of refused) {
    assertThrows(() => withinLimit({ ...limit, ...options }), LocalgradError, message);
  }
});

Deno.test("of several batches the one with the least time an image is chosen", () => {
  const several = { ...run, method: endToEnd(), batch: [8, 32] };
  const peak = (batch: number) => withinLimit({ ...several, memoryLimit: "1GiB", batch }).peakBytes;
  const ample = withinLimit({ ...several, memoryLimit: "1GiB" });
  assertEquals([ample.batch, ample.description], [32, "endToEnd, batch 32"]);
  // More images a step share the work on the weights, but not at the price of recomputing much.
  const tight = withinLimit({ ...several, memoryLimit: Math.ceil(0.6 * peak(32)) });
  const perImage = [8, 32].map((batch) => {
    const way = withinLimit({ ...several, memoryLimit: tight.limit, batch });
    return way.seconds / batch;
  });
  assertEquals(tight.seconds / tight.batch, Math.min(...perImage));
  const { message } = assertThrows(() => withinLimit({ ...several, memoryLimit: "1MiB" }), LocalgradError);
  assertMatch(message, /the least limit is [^,]+, with endToEnd[^.]*, batch 8\. /);
});

Deno.test("what is reserved is left of the limit", () => {
  const method = endToEnd();
  const { peakBytes } = withinLimit({ ...run, memoryLimit: "1GiB", method });
  const memoryLimit = Math.ceil(1.01 * peakBytes), reserve = Math.ceil(0.3 * peakBytes);
  assertEquals(withinLimit({ ...run, memoryLimit, method }).recompute, false);
  const way = withinLimit({ ...run, memoryLimit, reserve, method });
  assert(way.peakBytes + reserve <= memoryLimit && way.recompute !== false);
  assertEquals([way.limit, way.reserve], [memoryLimit, reserve]);
  assertThrows(
    () => withinLimit({ ...run, memoryLimit: "2MiB", reserve: "1MiB", method }),
    LocalgradError,
    "fits into 2.00 MiB, 1.00 MiB of which are reserved; the least limit is ",
  );
  assertThrows(
    () => withinLimit({ ...run, memoryLimit: "2MiB", reserve: "2MiB", method }),
    LocalgradError,
    "memoryLimit: 2.00 MiB are reserved, which leaves nothing of 2.00 MiB; allow more",
  );
});
