import { assertEquals } from "@std/assert";
import { assertSameBits, type Case, checkCases, runAll } from "../../../tests/ops/check.ts";
import { f32, Random } from "../../../tests/ops/random.ts";
import { withCpu } from "../../../tests/ops/with_cpu.ts";
import { compile } from "../../compile/compile.ts";
import { open } from "../../runtime/devices.ts";
import { jit } from "../../runtime/jit.ts";
import { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import type { Backend } from "../backend.ts";

const extents = (list: readonly number[]) => list.join("×");

/** A normalisation of rows by column, with values per image and per row, and two results. */
function normalisation(random: Random, shape: readonly [number, number, number]): Case {
  const [images, , columns] = shape;
  const avals = [shape, [columns], [columns], [images, 1, 1], [shape[1], 1]].map((each) => f32(...each));
  const program = jit((x: Tensor, mean: Tensor, scale: Tensor, image: Tensor, row: Tensor) => {
    const y = x.sub(mean).mul(scale.mul(0.5)).add(image);
    return [y, y.relu().mul(row)];
  }).program(
    ...(avals as [typeof avals[0], typeof avals[0], typeof avals[0], typeof avals[0], typeof avals[0]]),
  );
  return { label: extents(shape), program, inputs: avals.map((aval) => random.elements(aval)) };
}

Deno.test("element-wise kernels with values per column agree with the definition on rows of any number and length", async () => {
  const random = new Random(31);
  const shapes: [number, number, number][] = [
    [3, 64, 16], // one block of rows for each image
    [2, 200, 32], // blocks of 50 rows
    [5, 67, 16], // a prime number of rows: as it is
    [2, 128, 4],
    [2, 128, 64],
    [2, 64, 68], // rows too long for one body
    [3, 96, 17], // rows that end within a vector
    [1, 2048, 24],
    [4, 8, 8],
    [4, 3, 8],
  ];
  const cases = shapes.map((shape) => normalisation(random, shape));
  const run = (backend: Backend) =>
    runAll(
      backend,
      cases.map(({ program, inputs }) => () => ({ plan: compile(program, backend.target), inputs })),
    );
  await withCpu(2, (backend) => checkCases(backend, cases, compile));
  const one = await withCpu(1, run);
  for (const threads of [2, 3]) assertSameBits(await withCpu(threads, run), one);
});

Deno.test("rows become inner loops where values per column are worth keeping", async () => {
  const random = new Random(32);
  const spaces = await withCpu(1, (backend) =>
    Promise.resolve(
      ([[3, 64, 16], [2, 200, 32], [5, 67, 16], [2, 64, 68], [3, 96, 17], [4, 3, 8]] as const).map(
        (shape) => {
          const { program } = normalisation(random, shape);
          return /over (.*)/.exec(backend.kernelText?.(compile(program, backend.target)) ?? "")?.[1];
        },
      ),
    ));
  assertEquals(spaces, [
    "3 × 1 × (64) × 16",
    "2 × 4 × (50) × 32",
    "5 × 67 × 16",
    "2 × 64 × 68",
    "3 × 96 × 17",
    "4 × 3 × 8",
  ]);
});

Deno.test("the sum along a row has the same bits whatever else its kernel computes", async () => {
  await using device = await open("cpu", { threads: 1 });
  const costly = (x: Tensor) => x.tanh().mul(x.exp()).add(x.square().add(1).log()).sigmoid();
  const x = new HostArray(new Random(33).floats(1200), [6, 200]);
  using terms = jit(costly, { device })(x);
  using alone = jit((x: Tensor) => x.sum(1), { device })(terms);
  using within = jit((x: Tensor) => costly(x).sum(1), { device })(x);
  assertEquals(await within.read(), await alone.read());
});
