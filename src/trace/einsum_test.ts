import { assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { referenceTarget } from "../backends/reference/target.ts";
import { open } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import { einsum } from "./einsum.ts";
import type { Tensor } from "./tensor.ts";

Deno.test("einsum() reads letters, ellipses and implicit results as NumPy does", async () => {
  await using device = await open("reference");
  const [a, b, c] = [
    device.array([1, 2, 3, 4], [2, 2]),
    device.array([5, 6]),
    device.array([7, 8, 9, 10], [2, 2]),
  ];
  const cases: [string, readonly (0 | 1 | 2)[], readonly number[]][] = [
    ["ij -> ji", [0], [1, 3, 2, 4]],
    ["ba", [0], [1, 3, 2, 4]], // alphabetical: ab
    ["ij->", [0], [10]],
    ["ii->i", [0], [1, 4]],
    ["ii", [0], [5]],
    ["ij,j", [0, 1], [17, 39]],
    ["ij,jk", [0, 2], [25, 28, 57, 64]],
    ["ij,kj->ki", [0, 2], [23, 53, 29, 67]],
    ["ij,ij->ij", [0, 2], [7, 16, 27, 40]],
    ["i,j->ij", [1, 1], [25, 30, 30, 36]],
    ["i,i", [1, 1], [61]],
    ["ij,k->i", [0, 1], [33, 77]], // summed apart
    ["...j,j->...", [0, 1], [17, 39]],
    ["...,...", [0, 1], [5, 12, 15, 24]], // aligned at the end
    ["i...,i...->...", [0, 2], [34, 56]],
    ["ij,jk,k->i", [0, 2, 1], [293, 669]],
  ];
  const results = jit(
    (a: Tensor, b: Tensor, c: Tensor) =>
      cases.map(([equation, operands]) => einsum(equation, ...operands.map((i) => [a, b, c][i] ?? a))),
    { device },
  )(
    a,
    b,
    c,
  );
  for (const [i, [equation, , expected]] of cases.entries()) {
    assertEquals([...await results[i]!.read()], [...expected], equation);
  }
  for (const array of [a, b, c, ...results]) array.dispose();
});

Deno.test("einsum() copies no operand whose axes a matrix product can take as they are", () => {
  const f32 = (...shape: number[]) => ({ shape, dtype: "f32" }) as const;
  for (const equation of ["bij,bjk->bik", "bji,bjk->bik", "bij,bkj->bik", "bji,bkj->bik", "bij,bjk->ik"]) {
    const plan = jit((a: Tensor, b: Tensor) => einsum(equation, a, b)).plan(
      referenceTarget,
      f32(2, 3, 3),
      f32(2, 3, 3),
    );
    const kinds = plan.steps.map((step) => step.kind === "op" ? step.instruction.op : step.kind);
    if (equation !== "bij,bjk->ik") assertEquals(kinds, ["matmul"], equation);
  }
});

Deno.test("einsum() refuses equations that do not fit their operands", async () => {
  await using device = await open("reference");
  const x = device.array([1, 2, 3, 4, 5, 6], [2, 3]);
  const cases: [string, number, string][] = [
    ["ij,jk", 1, 'einsum("ij,jk", f32[2,3]): it names 2 operands, not 1'],
    ["ijk", 1, 'operand 0 has 2 axes, but "ijk" names 3'],
    ["i", 1, 'operand 0 has 2 axes, but "i" names 1'],
    ["ij->ik", 1, 'no operand has the result\'s "k"'],
    ["ij->ii", 1, 'the result has "i" twice'],
    ["ij->i->j", 1, '"->" occurs twice'],
    ["i1", 1, 'axes are named by letters, not by "i1"'],
    ["ii", 1, '"i" is 2 and 3 long'],
    ["ij,jk", 2, '"j" is 3 and 2 long'],
  ];
  for (const [equation, count, says] of cases) {
    const f = jit((x: Tensor) => einsum(equation, ...new Array<Tensor>(count).fill(x)), { device });
    assertThrows(() => f(x), LocalgradError, says);
  }
  x.dispose();
});
