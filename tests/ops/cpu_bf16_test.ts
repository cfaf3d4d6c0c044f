import { assert, assertEquals, assertMatch } from "@std/assert";
import { at } from "../../src/base/at.ts";
import { openCpu } from "../../src/backends/cpu/backend.ts";
import { compile } from "../../src/compile/compile.ts";
import type { HostData } from "../../src/trace/dtype.ts";
import { fromBf16, toBf16 } from "../../src/trace/bf16.ts";
import { type Instruction, ProgramBuilder } from "../../src/trace/program.ts";
import { openBf16 } from "../onednn/bf16.ts";
import { bf16Suite, inBf16 } from "./bf16.ts";
import { convolutions, product } from "./cases/contractions.ts";
import { assertSameBits, checkCases, opCase, runAll } from "./check.ts";
import { Random } from "./random.ts";
import { withBackend } from "./suite.ts";
import { unfusedPlan } from "./unfused.ts";

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

/** Work for several slices, the last of them smaller. */
const cases = (random = new Random(1)) =>
  [
    ...convolutions(random, [7, 40, 40, 16], [32, 3, 3, 16], { strides: [2, 2] }),
    product(random, [301, 300, 300], false, true),
  ].map(inBf16);

Deno.test(
  "cpu-bf16: batches and rows in unequal slices as the reference rounds them",
  { ignore },
  () => withBackend(openBf16, (backend) => checkCases(backend, cases(), unfusedPlan)),
);

Deno.test("cpu-bf16: the bits of a result do not depend on the number of threads", { ignore }, async () => {
  const results: (HostData[] | Error)[][] = [];
  for (const threads of [1, 2]) {
    await withBackend(() => openCpu({ engine: "onednn", threads }), async (backend) => {
      const plans = cases().map(({ program, inputs }) => () => ({
        plan: compile(program, backend.target),
        inputs,
      }));
      results.push(await runAll(backend, plans));
    });
  }
  const [one, two] = results;
  assert(one !== undefined && two !== undefined);
  assertSameBits(two, one);
});

Deno.test(
  "cpu-bf16: oneDNN computes on bf16 itself; what it pads is widened",
  { ignore },
  () =>
    withBackend(openBf16, (backend) => {
      const random = new Random(1);
      const textOf = ({ program }: ReturnType<typeof product>) =>
        backend.kernelText?.(compile(program, backend.target)) ?? "";
      const fast = [
        ...convolutions(random, [4, 16, 16, 16], [16, 3, 3, 16]),
        ...convolutions(random, [4, 16, 16, 16], [32, 3, 3, 16], { strides: [2, 2] }),
        ...convolutions(random, [4, 16, 16, 32], [32, 3, 3, 1], { groups: 32 }),
        product(random, [301, 300, 300], false, true),
      ];
      for (const text of fast.map(inBf16).map(textOf)) {
        assertMatch(text, /oneDNN (forward|inputGrad|filterGrad|product) \S*bf16/);
        assert(!text.includes(" cast "), text);
      }
      const padded = { groups: 96, padding: [[3, 3], [3, 3]] } as const;
      const [, , depthwise] = convolutions(random, [2, 14, 14, 96], [96, 7, 7, 1], padded).map(inBf16).map(
        textOf,
      );
      assert(depthwise !== undefined && !depthwise.includes("oneDNN"));
      assertEquals(depthwise.match(/ cast /g)?.length, 3);
      return Promise.resolve();
    }),
);

Deno.test(
  "cpu-bf16: a filter too large for partial gradients has oneDNN's in f32, rounded once",
  { ignore },
  () =>
    withBackend(openBf16, async (backend) => {
      const [, , large] = convolutions(new Random(1), [8, 8, 8, 512], [512, 3, 3, 512]);
      assert(large !== undefined);
      const { program, inputs } = inBf16(large);
      const builder = new ProgramBuilder();
      const [x, dy] = program.inputs.map(({ value, name }) => builder.input(at(program.values, value), name));
      const instruction = at(large.program.instructions, 0);
      assert(x !== undefined && dy !== undefined);
      const [wideX, wideDy] = [x, dy].map((value) => builder.emit("cast", [value], { dtype: "f32" }));
      assert(wideX !== undefined && wideDy !== undefined);
      const dw = builder.emit<Instruction["op"]>("convFilterGrad", [wideX, wideDy], instruction.attrs);
      const value = builder.emit("cast", [dw], { dtype: "bf16" });
      const plans = [program, builder.finish("wide", [{ value, name: "y" }])].map((each) =>
        compile(each, backend.target)
      );
      for (const plan of plans) assertMatch(backend.kernelText?.(plan) ?? "", /oneDNN winograd/);
      const [narrow, wide] = await runAll(backend, plans.map((plan) => () => ({ plan, inputs })));
      assert(narrow !== undefined && wide !== undefined);
      assertSameBits([narrow], [wide]);
    }),
);
