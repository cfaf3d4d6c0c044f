import { expectObject } from "../expect.ts";
import type { Layer } from "./layer.ts";

/** Refuses what is no layer; `what` begins the message. */
export function expectLayer(what: string, layer: Layer): void {
  expectObject(what, layer, { params: "object", state: "object", init: "function", apply: "function" });
}
