import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { frontierChart, type Point } from "./plot.ts";

const point = (name: string, mebibytes: number, time: number, more: Partial<Point> = {}): Point => ({
  ...{ name, mebibytes, time, recomputes: false, best: false },
  ...more,
});
const marks = (svg: string) => svg.match(/aria-roledescription="point"/g)?.length ?? 0;

Deno.test("the frontier is drawn over time, and over errors where they are known", async () => {
  const points = [
    point("endToEnd", 20, 1, { best: true }),
    point("endToEnd", 12, 1.1, { best: true, recomputes: true }),
    point("dgl", 15, 1.2),
  ];
  const plain = await frontierChart(points, "resnet8, batch 32");
  for (const text of ["resnet8, batch 32", "endToEnd", "dgl", "recomputing", "planned peak, MiB"]) {
    assertStringIncludes(plain, text);
  }
  assertEquals(marks(plain), 3);
  assert(!plain.includes("test error"));
  const withErrors = await frontierChart(
    [...points, point("greedy", 10, 0.9, { error: 0.4 })],
    "with an error",
  );
  assertStringIncludes(withErrors, "test error");
  assertEquals(marks(withErrors), 4 + 1);
});
