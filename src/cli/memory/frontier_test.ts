import { assert, assertEquals, assertThrows } from "@std/assert";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { target } from "../../runtime/devices.ts";
import { isBest, POINT, worthwhile } from "./frontier_marks.ts";
import { frontierOf, type FrontierRow } from "./frontier.ts";
import { frontierText, nameOf, withFrontier } from "./frontier_text.ts";
import { settingsFrom } from "../settings.ts";
import { textTable } from "../terminal.ts";

const settings = settingsFrom({ batch: "32" });
const machine = await target("cpu", { threads: 2 });

/** The plain rows: method, modules and, if it is not even, how they were cut. */
const plainOf = (rows: readonly FrontierRow[]) =>
  rows.filter(({ limit }) => limit === undefined).map((row) =>
    `${nameOf(row)} ${row.modules}${row.split === "balanced" ? " balanced" : ""}`
  ).toSorted();

Deno.test("the frontier marks the rows that no other has less memory and time than", () => {
  const rows = frontierOf(settings, machine, { methods: ["endToEnd", "dgl"] });
  const best = rows.filter((row) => row.best);
  for (const [i, row] of best.entries()) {
    if (i > 0) assert(row.peakBytes > at(best, i - 1).peakBytes && row.seconds < at(best, i - 1).seconds);
  }
  for (const row of rows.filter((row) => !row.best)) {
    assert(best.some(({ peakBytes, seconds }) => peakBytes <= row.peakBytes && seconds <= row.seconds));
  }
  assertEquals(plainOf(rows), ["dgl 2", "dgl 3", "endToEnd 1"]);
  for (const { limit, peakBytes, worth } of rows) {
    assert(peakBytes > 0 && (limit === undefined || limit > 0) && !worth);
  }
  const text = frontierText(rows, textTable);
  assertEquals(text.match(/\*$/gm)?.length, best.length);
  assert(/^endToEnd +1 +23.1 MiB +100 % +1.00 ×/m.test(text));
});

Deno.test("options are those of the chosen methods that take them", () => {
  const chosen = { ...settings, methodOptions: { depth: 1 } };
  const rows = frontierOf(chosen, machine, { methods: ["endToEnd", "augLocal"] });
  assertEquals(plainOf(rows), ["augLocal, depth 1 3", "endToEnd 1"]);
  assertThrows(
    () => frontierOf(chosen, machine, { methods: ["endToEnd", "dgl"] }),
    LocalgradError,
    "--depth is for --method augLocal or mlaan, not for ",
  );
});

Deno.test("known errors join the frontier, and no way is planned twice", () => {
  const trained = [
    { method: "endToEnd", options: {}, cut: 3, error: 0.2, errors: [0.19, 0.2, 0.21], stepSeconds: 0.0123 }, // whatever the cut
    { method: "dgl", options: {}, cut: ["layer1.0", "layer2.0"], error: 0.3, errors: [0.3] }, // that of K = 3
    { method: "augLocal", options: { depth: 1 }, cut: 3, error: 0.25, errors: [0.25] },
    { method: "greedy", options: {}, cut: 3, error: 0.9, errors: [0.9] },
  ] as const;
  const rows = frontierOf(settings, machine, { methods: ["endToEnd", "dgl"], trained });
  assertEquals(plainOf(rows), [
    ...["augLocal, depth 1 3", "dgl 2", "dgl 3", "endToEnd 1", "endToEnd+checkpoint 1"],
    "greedy 3",
  ]);
  for (const row of rows) {
    const { method, modules, error, errors, limit, stepSeconds } = row;
    if (method.startsWith("endToEnd")) assertEquals([error, errors?.length], [0.2, 3], nameOf(row));
    assertEquals(stepSeconds, method === "endToEnd" && limit === undefined ? 0.0123 : undefined, nameOf(row));
    if (method === "dgl") assertEquals(error, modules === 3 ? 0.3 : undefined);
  }
  const worth = worthwhile(rows);
  for (const row of rows) {
    assertEquals([row.worth, row.best], [worth.has(row), isBest(row, rows)], nameOf(row));
  }
  const text = frontierText(rows, textTable);
  assert(/^endToEnd +1 +23.1 MiB +100 % +1.00 × +12.3 ms +20.00 ± 1.00 +3 +\*?\+$/m.test(text));
  assertEquals(text.match(/\+$/gm)?.length, rows.filter(({ worth }) => worth).length);
});

Deno.test("a way is worth its cost unless another that is takes no more for an error less than a point higher", () => {
  const ways = ([
    ["a", 10, 10, 0.3],
    ["b", 20, 20, 0.3 - 0.9 * POINT], // a needs less
    ["c", 30, 30, 0.3 - 1.8 * POINT], // b would do, but is not worth its cost, and a is worse
    ["d", 30, 40, 0.2], // slower than c, but better
    ["e", 40, 40, 0.2], // d needs less
    ["f", 5, 50, undefined],
    ["g", 5, 50, 0.5],
    ["h", 5, 50, 0.49], // the same cost
  ] as const).map(([name, peakBytes, seconds, error]) => ({ name, peakBytes, seconds, error }));
  const named = (some: Iterable<typeof ways[number]>) =>
    Array.from(some, ({ name }) => name).toSorted().join("");
  const marked = ways.map(({ error, ...way }) => error === undefined ? way : { ...way, error });
  assertEquals(Array.from(worthwhile(marked), ({ name }) => name).toSorted().join(""), "acdh");
  assertEquals(named(ways.filter((way) => isBest(costsOf(way), ways.map(costsOf)))), "afgh");
});

const costsOf = ({ peakBytes, seconds }: { peakBytes: number; seconds: number }) => ({ peakBytes, seconds });

Deno.test("a document's place for the frontier of a network takes its marked rows", () => {
  const row = { method: "greedy", options: {}, modules: 2, split: "even by blocks", worth: false } as const;
  const rows = [
    { ...row, peakBytes: 50, seconds: 1, best: true },
    { ...row, peakBytes: 60, seconds: 2, best: false },
    { ...row, method: "endToEnd", modules: 1, peakBytes: 100, seconds: 2, best: false },
  ] as const;
  const place = "a\n<!-- frontier resnet8 -->old<!-- /frontier -->b";
  assertEquals(
    withFrontier(
      place,
      "x.md",
      "resnet8",
      rows,
      (_heads, cells) => cells.map((row) => row.join("|")).join("\n"),
    ),
    "a\n<!-- frontier resnet8 -->\n\nThe marked rows of 3, and end to end:\n\n" +
      "greedy|2|even by blocks|50 B|50 %|0.50 ×|*\nendToEnd|1||100 B|100 %|1.00 ×|\n\n<!-- /frontier -->b",
  );
  assertThrows(
    () => withFrontier(place, "x.md", "resnet20", rows, textTable),
    LocalgradError,
    "x.md has no place for the frontier of resnet20: <!-- frontier resnet20 --> and <!-- /frontier -->",
  );
});
