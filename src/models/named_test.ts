import { assert, assertEquals } from "@std/assert";
import { shapeAfter } from "../nn/layer.ts";
import { inputShape, network } from "./model.ts";
import { modelNames, modelsByName } from "./named.ts";
import * as networks from "./networks.ts";
import type { ModelOptions } from "./options.ts";

Deno.test("a network is available by name as soon as the index exports it", () => {
  const toy14 = (options?: ModelOptions) => ({ ...networks.resnet8(options), name: "toy14" });
  const known = modelsByName({ ...networks, toy14 });
  assertEquals([...known.keys()].filter((name) => !modelNames.includes(name as never)), ["toy14"]);
  const model = known.get("toy14")!({ classes: 3, size: 16 });
  assertEquals([model.name, model.classes, inputShape(model)[0]], ["toy14", 3, 16]);
  assertEquals(shapeAfter(network(model), [16, 16, 3]), [3]);
});

Deno.test("every name of the index makes a network of that name", () => {
  assert(modelNames.length >= 13);
  for (const [name, make] of modelsByName(networks)) assertEquals(make().name, name);
});
