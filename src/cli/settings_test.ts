import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { scheduleOf } from "./build.ts";
import { saveEveryFrom, settingsFrom } from "./settings.ts";

Deno.test("saveEveryFrom() accepts steps and minutes, and nothing else", () => {
  assertEquals(saveEveryFrom("500"), { steps: 500 });
  assertEquals(saveEveryFrom("10m"), { minutes: 10 });
  assertEquals(saveEveryFrom("0.5m"), { minutes: 0.5 });
  for (const text of ["", "m", "0", "0m", "1.5", "-3", "10s", "10 m", "1e3", ".", ".m"]) {
    assertThrows(() => saveEveryFrom(text), LocalgradError, "--save-every must be");
  }
});

Deno.test("a schedule with its own length is kept when a run becomes longer", () => {
  const rates = (epochs: string, schedule?: string, count = Number(epochs)) => {
    const own = schedule === undefined ? {} : { "schedule-epochs": schedule };
    const rate = scheduleOf(settingsFrom({ lr: "0.1", epochs, ...own }));
    return Array.from({ length: count }, (_, epoch) => rate(epoch));
  };
  const four = rates("4");
  assertEquals(rates("8", "4"), [...four, ...[4, 5, 6, 7].map(() => four[3])]);
  assertEquals(rates("4", "8"), rates("8").slice(0, 4)); // a part of a longer run
  assertAlmostEquals(four[3], 0.1 * (1 + Math.cos(Math.PI * 4 / 5)) / 2, 1e-12);
  assert(rates("8")[4] > 3 * four[3]); // what --epochs alone does
  // A long schedule ends at 0, where nothing more would be learned.
  const [end, ...after] = rates("44", "40").slice(39);
  assertEquals(end, 0);
  assert(after.every((rate) => rate === rates("40")[38] && rate > 0));
});
