import { opSuite } from "../ops/suite.ts";
import { openSimulated, report } from "./simulated.ts";
import { assertEquals } from "@std/assert";

// The op suite of every backend, through the whole CUDA backend: correctness, never speed.
await opSuite(() => openSimulated({ precision: "f32" }), "cuda, simulated");

Deno.test("cuda, simulated: nothing is left on the device", () => assertEquals(report(), ""));
