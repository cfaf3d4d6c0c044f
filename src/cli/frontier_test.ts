import { assert, assertEquals } from "@std/assert";
import { at } from "../base/at.ts";
import { target } from "../runtime/devices.ts";
import { frontierOf, frontierText } from "./frontier.ts";
import { settingsFrom } from "./settings.ts";
import { textTable } from "./terminal.ts";

Deno.test("the frontier marks the rows that no other has less memory and time than", async () => {
  const machine = await target("cpu", { threads: 2 });
  const rows = frontierOf(settingsFrom({ batch: "32" }), machine, ["endToEnd", "dgl"]);
  const best = rows.filter((row) => row.best);
  for (const [i, row] of best.entries()) {
    if (i > 0) assert(row.peakBytes > at(best, i - 1).peakBytes && row.seconds < at(best, i - 1).seconds);
  }
  for (const row of rows.filter((row) => !row.best)) {
    assert(best.some(({ peakBytes, seconds }) => peakBytes <= row.peakBytes && seconds <= row.seconds));
  }
  assertEquals(
    rows.filter(({ limit }) => limit === undefined).map(({ method, modules }) => `${method} ${modules}`)
      .toSorted(),
    [
      "dgl 2",
      "dgl 3",
      "endToEnd 1",
    ],
  );
  for (const { limit, peakBytes } of rows) assert(peakBytes > 0 && (limit === undefined || limit > 0));
  const text = frontierText(rows, textTable);
  assertEquals(text.match(/\*$/gm)?.length, best.length);
  assert(/^endToEnd +1 +23.1 MiB +100 % +1.00 ×/m.test(text));
});
