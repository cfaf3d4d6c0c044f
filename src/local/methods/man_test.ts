import { assertEquals, assertThrows } from "@std/assert";
import { tinyModel } from "../../../tests/tiny.ts";
import { LocalgradError } from "../../base/errors.ts";
import { sgd } from "../../optim/sgd.ts";
import { auxiliaryAt, type Method } from "../method.ts";
import { setup } from "../setup.ts";
import { dgl, greedy, man, type ManOptions, manPlusPlus } from "./methods.ts";
import { methodNamed } from "./named.ts";

Deno.test("man() and manPlusPlus() refuse impossible options of an average", () => {
  const refused: [ManOptions, string][] = [
    [
      { moves: "afterwards" as never },
      '"afterwards"; choose "afterBackward" or "beforeBackward" or "afterStep"',
    ],
    [{ average: "gamma" as never }, '"gamma"; choose "frozen" or "trained"'],
    [{ statistics: true as never }, 'no statistics true; choose "batch"'],
    [{ average: "trained", moves: "afterBackward" }, "after its gradient step"],
    [{ average: "trained", moves: "beforeBackward" }, "leave moves out"],
    [{ fusion: "biasOnly", moves: "afterStep" }, "there is no average; leave moves out"],
    [{ fusion: "biasOnly", average: "trained" }, "there is no average; leave average out"],
    [{ fusion: "biasOnly", statistics: "copy" }, "there is no average; leave statistics out"],
  ];
  for (const [options, message] of refused) {
    assertThrows(() => man(dgl(), options), LocalgradError, message);
    const { fusion, ...shared } = options;
    if (fusion === undefined) assertThrows(() => manPlusPlus(dgl(), shared), LocalgradError, message);
  }
  assertThrows(() => methodNamed("dgl", { moves: "afterStep" }), LocalgradError, '"moves"; it has head');
});

Deno.test("a method can be wrapped in man or manPlusPlus only once, and knows that it is wrapped", () => {
  const seen: (boolean | undefined)[] = [];
  const watching: Method = {
    ...greedy(),
    auxiliary(boundary) {
      seen.push(boundary.fused);
      return auxiliaryAt(greedy(), boundary);
    },
  };
  const make = (method: Method) => setup({ model: tinyModel(), modules: 2, method, optimizer: sgd() });
  make(watching);
  make(man(watching, { fusion: "biasOnly" }));
  make(manPlusPlus(watching, { stem: false }));
  assertEquals(seen, [undefined, true, true]);
  assertThrows(
    () => make(man(manPlusPlus(dgl()))),
    LocalgradError,
    "manPlusPlus+dgl is wrapped in man or manPlusPlus already; wrap dgl only once",
  );
});
