import { assertEquals } from "@std/assert";
import { compile } from "../../src/compile/compile.ts";
import { fromBf16, toBf16 } from "../../src/trace/bf16.ts";
import { openBf16 } from "../onednn/bf16.ts";
import { bf16Suite } from "./bf16.ts";
import { opCase, runAll } from "./check.ts";
import { withBackend } from "./suite.ts";

const ignore = await bf16Suite(openBf16, "cpu-bf16", 24);

/** Every bf16 as f32, with lower halves that round down, are ties, and round up: NaNs with small payloads among them. */
function neighbours(): Float32Array<ArrayBuffer> {
  const lower = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
  const words = new Uint32Array(65536 * lower.length + 3); // and a rest of three lanes
  words.forEach((_, i) => words[i] = (i % 65536) * 65536 + (lower[Math.floor(i / 65536)] ?? 0));
  return new Float32Array(words.buffer);
}

Deno.test(
  "cpu-bf16: conversion to bf16 and back gives the host's bits; a NaN stays one",
  { ignore },
  () =>
    withBackend(openBf16, async (backend) => {
      const wide = neighbours(), narrow = toBf16(wide);
      const shape = [wide.length];
      const cases = [
        opCase("cast", [{ shape, dtype: "f32" }], { dtype: "bf16" }, [wide]),
        opCase("cast", [{ shape, dtype: "bf16" }], { dtype: "f32" }, [narrow]),
      ];
      const runs = cases.map(({ program, inputs }) => () => ({
        plan: compile(program, backend.target),
        inputs,
      }));
      const [to, from] = await runAll(backend, runs);
      if (to instanceof Error) throw to;
      if (from instanceof Error) throw from;
      const [rounded] = to, [widened] = from;
      if (!(rounded instanceof Uint16Array) || widened === undefined) {
        throw new Error("the result is not bf16");
      }
      const missing = (bits: number) => (bits & 0x7fff) > 0x7f80;
      const wrong = (same: (i: number) => boolean) => [...narrow.keys()].filter((i) => !same(i)).slice(0, 9);
      const same = (i: number) =>
        rounded[i] === narrow[i] || (missing(rounded[i] ?? 0) && missing(narrow[i] ?? 0));
      assertEquals(wrong(same), []);
      const values = fromBf16(narrow);
      assertEquals(wrong((i) => Object.is(widened[i], values[i])), []);
    }),
);
