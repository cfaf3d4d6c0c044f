import { openCpu } from "../../src/backends/cpu/backend.ts";
import { compile } from "../../src/compile/compile.ts";
import type { HostData } from "../../src/trace/dtype.ts";
import { convCases, poolCases, resizeCases } from "./cases/images.ts";
import { recipeCases } from "./cases/recipes.ts";
import { longReduceCases } from "./cases/reductions.ts";
import { matmulCases } from "./cases/rows.ts";
import { assertSameBits, runAll } from "./check.ts";
import { Random } from "./random.ts";
import { opSuite, withBackend } from "./suite.ts";
import { sumSuite } from "./sums.ts";

await opSuite(() => openCpu(), "cpu");
await sumSuite(() => openCpu(), "cpu");

Deno.test("cpu: the bits of a result do not depend on the number of threads", async () => {
  const random = new Random(1);
  const cases = [
    ...recipeCases(random),
    ...convCases(random).slice(0, 39),
    ...poolCases(random).slice(0, 20),
    ...resizeCases(random),
    ...matmulCases(random),
    ...longReduceCases(random),
  ];
  const results: (HostData[] | Error)[][] = [];
  for (const threads of [1, 2, 3]) {
    await withBackend(() => openCpu({ threads }), async (backend) => {
      const runs = cases.map(({ program, inputs }) => () => ({
        plan: compile(program, backend.target),
        inputs,
      }));
      results.push(await runAll(backend, runs));
    });
  }
  assertSameBits(results[1], results[0]);
  assertSameBits(results[2], results[0]);
});
