import { assertEquals } from "@std/assert";
import { resnet8 } from "../models/resnet.ts";
import { sgd } from "../optim/sgd.ts";
import type { Method } from "./method.ts";
import { dgl, greedy, infopro, man, predsim } from "./methods/methods.ts";
import { partOf } from "./processes/part.ts";
import { setup } from "./setup.ts";
import { readsInputs } from "./step_reads.ts";

/** Whether each of two processes of a pipeline reads the inputs of its batches. */
function reads(method: Method, accumulate = 1): boolean[] {
  const whole = setup({ model: resnet8(), modules: 3, method, optimizer: sgd(), accumulate });
  const runs = [{ first: 0, end: 1 }, { first: 1, end: 3 }];
  const layout = { data: 1, modules: 2 };
  return [0, 1].map((modules) =>
    readsInputs(partOf(whole, { layout, place: { data: 0, modules }, runs, depth: 1 }), 8)
  );
}

Deno.test("only the first process of a pipeline reads images, unless its method reconstructs them", () => {
  for (const method of [dgl(), greedy(), predsim(), man(dgl())]) {
    assertEquals(reads(method), [true, false], method.name);
  }
  assertEquals(reads(dgl(), 2), [true, false]); // in micro-batches
  assertEquals(reads(infopro()), [true, true]);
  const alone = setup({ model: resnet8(), modules: 3, method: dgl(), optimizer: sgd() });
  assertEquals(readsInputs(alone, 8), true);
});
