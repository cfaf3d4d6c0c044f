import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { ALONE, formatLayout, layoutOf, parallelFrom, placeOfRank, rankAt } from "./layout.ts";

Deno.test("layoutOf() divides processes by data, by modules, or both", () => {
  assertEquals(layoutOf("data", 4), { data: 4, modules: 1 });
  assertEquals(layoutOf("modules", 4), { data: 1, modules: 4 });
  assertEquals(layoutOf({ data: 2, modules: 4 }, 8), { data: 2, modules: 4 });
  for (const parallel of [undefined, "data", "modules", { data: 2, modules: 4 }] as const) {
    assertEquals(layoutOf(parallel, 1), ALONE, "one process runs the same script");
  }
});

Deno.test("layoutOf() refuses what does not fit the processes", () => {
  const refused = (parallel: unknown, processes: number, message: string) =>
    assertThrows(() => layoutOf(parallel as "data", processes), LocalgradError, message);
  refused(undefined, 2, "2 processes were started");
  refused({ data: 2, modules: 4 }, 4, "2 × 4 is 8 processes, but 4 were started");
  refused({ data: 0, modules: 4 }, 4, "parallel: data");
  refused({ data: 2, modules: 1.5 }, 3, "parallel: modules");
  refused("pipeline", 2, 'choose "data", "modules" or');
  refused("data", 0, "the number of processes");
});

Deno.test("every rank has its own place, and a pipeline has consecutive ranks", () => {
  const layout = { data: 2, modules: 3 };
  const places = [0, 1, 2, 3, 4, 5].map((rank) => placeOfRank(layout, rank));
  assertEquals(places.map(({ data, modules }) => [data, modules]), [
    [0, 0],
    [0, 1],
    [0, 2],
    [1, 0],
    [1, 1],
    [1, 2],
  ]);
  assertEquals(places.map((place) => rankAt(layout, place)), [0, 1, 2, 3, 4, 5]);
});

Deno.test("parallelFrom() reads what formatLayout() writes, and the names", () => {
  const layout = { data: 2, modules: 4 };
  assertEquals(parallelFrom(formatLayout(layout)), layout);
  assertEquals(parallelFrom("data"), "data");
  assertEquals(parallelFrom("modules"), "modules");
  for (const text of ["", "2", "2x", "0x4", "2x4x1", "model", "-1x2"]) {
    assertEquals(parallelFrom(text), undefined);
  }
});
