import { openReference, ReferenceBackend } from "../../src/backends/reference/backend.ts";
import { referenceTarget } from "../../src/backends/reference/target.ts";
import { compile } from "../../src/compile/compile.ts";
import { bf16Suite } from "./bf16.ts";
import { programCases } from "./cases/programs.ts";
import { recipeCases } from "./cases/recipes.ts";
import { checkCases } from "./check.ts";
import { Random } from "./random.ts";
import { opSuite } from "./suite.ts";

await opSuite(openReference, "reference");
await bf16Suite(openReference, "reference", 24);

Deno.test("compile() respects a target with few buffers, short segments and wide alignment", async () => {
  const segmentBytes = 2 ** 19;
  const cramped = {
    ...referenceTarget,
    alignment: 256,
    maxKernelBuffers: 4,
    segmentBytes,
    maxValueBytes: segmentBytes,
  };
  const random = new Random(1);
  const cases = [...recipeCases(random), ...programCases(random, 200)];
  const backend = new ReferenceBackend();
  await checkCases(backend, cases, (program) => compile(program, cramped, { verify: true }));
  await backend.close();
});
