import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { resnet8 } from "../models/resnet.ts";
import { merge, nest } from "../nn/named.ts";
import { sgd } from "../optim/sgd.ts";
import { treePaths } from "../trace/tree.ts";
import { dgl } from "./methods/dgl.ts";
import { man } from "./methods/man.ts";
import { AUXILIARIES, auxiliaryPart, moduleIn, moduleScope, placeOf, withAuxiliary } from "./places.ts";
import { setup } from "./setup.ts";

Deno.test("moduleIn() reads what moduleScope() builds, at any depth", () => {
  for (const index of [0, 9, 54]) {
    assertEquals(moduleIn(moduleScope(index)), index);
    assertEquals(moduleIn(`${moduleScope(index)}/forward/auxiliary`), index);
  }
  assertEquals(moduleScope(2), "module 3"); // shown in reports and memory tables
  for (const scope of ["", "after step", "a module 3"]) assertEquals(moduleIn(scope), undefined);
});

Deno.test("auxiliaryPart() tells auxiliary networks from the network, by the paths a setup gives", () => {
  const { initial } = setup({ model: resnet8(), modules: 3, method: man(dgl()), optimizer: sgd() });
  const parts = (tree: typeof initial.params) => [...new Set(treePaths(tree).map(auxiliaryPart))];
  assertEquals(parts(initial.params), [undefined, "bias", "classifier"]);
  assertEquals(parts(initial.state), [undefined, "ema", "bias", "classifier"]);
  assertEquals(placeOf(1), "local.1"); // used in checkpoints and weights
});

Deno.test("withAuxiliary() replaces one auxiliary network and keeps the rest", () => {
  const tree = merge(nest("fc.weight", 1), nest(placeOf(0), { a: 2 }), nest(placeOf(1), { a: 3 }));
  assertEquals(withAuxiliary(tree, 1, { b: 4 }), {
    fc: { weight: 1 },
    local: { "0": { a: 2 }, "1": { b: 4 } },
  });
});

Deno.test("setup() refuses a network with a part where auxiliary networks are kept", () => {
  const model = resnet8();
  const [first, ...rest] = model.blocks;
  const blocks = [{ ...first, name: `${AUXILIARIES}.0` }, ...rest];
  assertThrows(
    () => setup({ model: { ...model, blocks }, method: dgl(), optimizer: sgd() }),
    LocalgradError,
    '"local" is where auxiliary networks are kept',
  );
});
