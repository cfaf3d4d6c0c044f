import { assert, assertEquals, assertThrows } from "@std/assert";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { target } from "../runtime/devices.ts";
import { frontierOf, type FrontierRow, frontierText, nameOf } from "./frontier.ts";
import { settingsFrom } from "./settings.ts";
import { textTable } from "./terminal.ts";

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
    { method: "endToEnd", options: {}, cut: 3, error: 0.2, seeds: 3 }, // whatever the cut
    { method: "dgl", options: {}, cut: ["layer1.0", "layer2.0"], error: 0.3, seeds: 1 }, // that of K = 3
    { method: "augLocal", options: { depth: 1 }, cut: 3, error: 0.25, seeds: 1 },
    { method: "greedy", options: {}, cut: 3, error: 0.9, seeds: 1 },
  ] as const;
  const rows = frontierOf(settings, machine, { methods: ["endToEnd", "dgl"], trained });
  assertEquals(plainOf(rows), [
    ...["augLocal, depth 1 3", "dgl 2", "dgl 3", "endToEnd 1", "endToEnd+checkpoint 1"],
    "greedy 3",
  ]);
  for (const row of rows) {
    const { method, modules, error, seeds } = row;
    if (method.startsWith("endToEnd")) assertEquals([error, seeds], [0.2, 3], nameOf(row));
    if (method === "dgl") assertEquals(error, modules === 3 ? 0.3 : undefined);
  }
  const known = rows.filter(({ error }) => error !== undefined);
  const noWorse = (a: FrontierRow, b: FrontierRow) =>
    a.peakBytes <= b.peakBytes && a.seconds <= b.seconds && a.error! <= b.error!;
  for (const row of known) {
    assertEquals(row.worth, !known.some((other) => noWorse(other, row) && !noWorse(row, other)), nameOf(row));
  }
  const text = frontierText(rows, textTable);
  assert(/^endToEnd +1 +23.1 MiB +100 % +1.00 × +20 %/m.test(text));
  assertEquals(text.match(/\+$/gm)?.length, rows.filter(({ worth }) => worth).length);
});
