import { expectKind, expectObject } from "../expect.ts";
import { expectLayer } from "../nn/expect_layer.ts";
import type { Model } from "./model.ts";

/** Refuses what is no model. */
export function expectModel(model: Model): void {
  expectObject("a model", model, {
    name: "string",
    input: "object",
    classes: "number",
    stem: "object",
    blocks: "array",
    head: "object",
  });
  expectObject("a model's input", model.input, { height: "number", width: "number", channels: "number" });
  for (const block of model.blocks) {
    expectKind("a block", block, "object");
    const { layer, name } = block;
    expectKind("the name of a block", name, "string");
    expectLayer(`block ${name}`, layer);
  }
}
