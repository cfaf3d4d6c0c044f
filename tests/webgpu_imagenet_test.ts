/** Steps of networks for large images, planned within the limits that every WebGPU device supports. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Dispatch, lowerPlan } from "../src/backends/webgpu/lower.ts";
import { webgpuTarget } from "../src/backends/webgpu/target.ts";
import { variants } from "../src/backends/webgpu/variant.ts";
import { LocalgradError } from "../src/base/errors.ts";
import { compile } from "../src/compile/compile.ts";
import { endToEnd } from "../src/local/methods/end_to_end.ts";
import { modelNamed } from "../src/models.ts";
import { stepProgram } from "./step_program.ts";

const limits = { binding: 2 ** 27, alignment: 256, bindings: 8, groups: 65535, groupSize: 256 };

function sizeOfGroup({ code }: Dispatch): number {
  const [, sizes] = /@workgroup_size\(([^)]*)\)/.exec(code)!;
  return sizes.split(",").reduce((product, size) => product * Number(size), 1);
}

for (const name of ["resnet50", "resnext50_32x4d"]) {
  Deno.test(`a step of ${name} at 224 × 224, batch 8, fits WebGPU's minimum limits`, () => {
    const plan = compile(stepProgram(modelNamed(name), 1, endToEnd(), 8), webgpuTarget, { verify: true });
    for (const variant of Object.values(variants)) {
      const dispatches = lowerPlan(plan, variant);
      assert(dispatches.length > 500);
      for (const dispatch of dispatches) {
        const { label, ranges, groups } = dispatch;
        assert(ranges.length <= limits.bindings, label);
        assert(ranges.every(({ bytes }) => bytes <= limits.binding), label);
        assertEquals(ranges.filter(({ offset }) => offset % limits.alignment !== 0), [], label);
        assert(groups.every((count) => count >= 1 && count <= limits.groups), label);
        assert(sizeOfGroup(dispatch) <= limits.groupSize, label);
      }
    }
  });
}

Deno.test("a batch whose features WebGPU cannot bind is refused, with the largest that fits", () => {
  const program = (batch: number) => stepProgram(modelNamed("resnet50"), 1, endToEnd(), batch);
  assertThrows(() => compile(program(64), webgpuTarget), LocalgradError, "use a batch of at most 41");
  compile(program(41), webgpuTarget);
});
