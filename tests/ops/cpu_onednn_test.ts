import { assert, assertEquals, assertMatch } from "@std/assert";
import { openCpu } from "../../src/backends/cpu/backend.ts";
import { compile } from "../../src/compile/compile.ts";
import type { HostData } from "../../src/trace/dtype.ts";
import { skips } from "../gate.ts";
import { convolutions, product } from "./cases/contractions.ts";
import { assertSameBits, checkCases, runAll } from "./check.ts";
import { Random } from "./random.ts";
import { opSuite, withBackend } from "./suite.ts";
import { sumSuite } from "./sums.ts";
import { unfusedPlan } from "./unfused.ts";

const open = (threads?: number) =>
  openCpu({ engine: "onednn", ...(threads === undefined ? {} : { threads }) });

await opSuite(() => open(), "cpu-onednn");
await sumSuite(() => open(), "cpu-onednn", { byLibrary: true });

const ignore = await skips("onednn", () => open());

/** Minimal filtering: even and odd extents, uneven padding, a smaller last unit, several groups of channels, one image. */
const filtered = (random: Random) => [
  ...convolutions(random, [33, 9, 9, 16], [40, 3, 3, 16]),
  ...convolutions(random, [2, 23, 26, 16], [72, 3, 3, 16], { padding: [[0, 1], [2, 1]] }),
  ...convolutions(random, [1, 32, 32, 16], [128, 3, 3, 16]),
];

/** 1 × 1 convolutions, which are products. */
const pointwise = (random: Random) =>
  convolutions(random, [3, 7, 9, 96], [160, 1, 1, 96], { padding: [[0, 0], [0, 0]] });

/** One or two images, whose rows are cut: padding above, below, on both sides, and a last band that is smaller. */
const banded = (random: Random) =>
  [
    ...convolutions(random, [1, 57, 43, 16], [48, 3, 3, 16], { strides: [2, 2] }),
    ...convolutions(random, [2, 30, 24, 16], [32, 5, 5, 8], { padding: [[0, 3], [1, 2]], groups: 2 }),
    ...convolutions(random, [1, 26, 26, 24], [32, 3, 3, 24], { dilation: [2, 2], padding: [[2, 2], [2, 2]] }),
  ].filter((_, index) => index % 3 === 0); // forward

/** Work for several slices, the last of them smaller. */
const sliced = (random: Random) => [
  ...pointwise(random),
  ...banded(random),
  ...convolutions(random, [2, 4, 4, 256], [256, 3, 3, 256], { strides: [2, 2] }),
  ...filtered(random),
  ...convolutions(random, [5, 48, 48, 16], [16, 3, 3, 16]),
  ...convolutions(random, [7, 40, 40, 16], [32, 3, 3, 16], { strides: [2, 2] }),
  product(random, [301, 300, 300], false, false),
  product(random, [301, 300, 300], true, false),
  product(random, [301, 300, 300], false, true),
];

Deno.test(
  "cpu-onednn: batches and rows in unequal slices as the reference computes them",
  { ignore },
  () => withBackend(() => open(), (backend) => checkCases(backend, sliced(new Random(1)), unfusedPlan)),
);

Deno.test("cpu-onednn: the bits of a result do not depend on the number of threads", { ignore }, async () => {
  const cases = sliced(new Random(1));
  const results: (HostData[] | Error)[][] = [];
  for (const threads of [1, 2, 3]) {
    await withBackend(() => open(threads), async (backend) => {
      const plans = cases.map(({ program, inputs }) => () => ({
        plan: compile(program, backend.target),
        inputs,
      }));
      results.push(await runAll(backend, plans));
    });
  }
  const [one, two, three] = results;
  assert(one !== undefined && two !== undefined && three !== undefined);
  assertSameBits(two, one);
  assertSameBits(three, one);
});

/** The routines that compute the steps of cases, by name, one line per case. */
async function computedBy(cases: (random: Random) => ReturnType<typeof convolutions>): Promise<string[]> {
  const names: string[] = [];
  await withBackend(() => open(), (backend) => {
    for (const { program } of cases(new Random(1))) {
      names.push(backend.kernelText?.(compile(program, backend.target)) ?? "");
    }
    return Promise.resolve();
  });
  return names;
}

Deno.test(
  "cpu-onednn: plain, strided, dilated, grouped and depthwise convolutions are oneDNN's",
  { ignore },
  async () => {
    const text = await computedBy((random) => [
      ...convolutions(random, [4, 16, 16, 16], [16, 3, 3, 16]),
      ...convolutions(random, [4, 16, 16, 16], [32, 3, 3, 16], { strides: [2, 2] }),
      ...convolutions(random, [4, 16, 16, 16], [16, 3, 3, 16], { dilation: [2, 2] }),
      ...convolutions(random, [4, 16, 16, 64], [64, 3, 3, 16], { groups: 4 }),
      ...convolutions(random, [4, 16, 16, 32], [32, 3, 3, 1], { groups: 32 }),
      product(random, [301, 300, 300], false, false),
    ]);
    for (const kernels of text) assertMatch(kernels, /oneDNN (forward|inputGrad|filterGrad|product)/);
    for (const kernels of text) assert(!/oneDNN \w+ (ref|gemm)/.test(kernels), kernels);
  },
);

Deno.test(
  "cpu-onednn: wide 3 × 3 convolutions are oneDNN's products of transformed tiles",
  { ignore },
  async () => {
    for (const kernels of await computedBy(filtered)) assertMatch(kernels, /oneDNN winograd/);
  },
);

Deno.test("cpu-onednn: 1 × 1 convolutions are oneDNN's products", { ignore }, async () => {
  for (const kernels of await computedBy(pointwise)) assertMatch(kernels, /oneDNN product/);
});

Deno.test("cpu-onednn: convolutions of few images are cut into bands of rows", { ignore }, async () => {
  for (const kernels of await computedBy(banded)) assertMatch(kernels, /oneDNN forward in bands/);
});

Deno.test("cpu-onednn: large filters are reordered in parts", { ignore }, async () => {
  const text = await computedBy((random) =>
    convolutions(random, [2, 4, 4, 256], [256, 3, 3, 256], { strides: [2, 2] })
  );
  for (const kernels of text) assertMatch(kernels, /oneDNN reorder [^,\n]*,/);
});

Deno.test("cpu-onednn: input gradients with few channels are WebAssembly's", { ignore }, async () => {
  const text = await computedBy((random) => [
    ...convolutions(random, [4, 16, 16, 3], [16, 3, 3, 3]),
    ...convolutions(random, [4, 16, 16, 16], [32, 1, 1, 16], { strides: [2, 2], padding: [[0, 0], [0, 0]] }),
  ]);
  assertEquals(text.map((kernels) => kernels.includes("oneDNN")), [true, false, true, true, false, true]);
});

Deno.test("cpu-onednn: what oneDNN pads or cannot divide stays with WebAssembly", { ignore }, async () => {
  const [, , depthwise, , , large] = await computedBy((random) => [
    ...convolutions(random, [2, 14, 14, 96], [96, 7, 7, 1], { groups: 96, padding: [[3, 3], [3, 3]] }),
    ...convolutions(random, [8, 8, 8, 512], [512, 3, 3, 512], { strides: [2, 2] }),
  ]);
  assertEquals([depthwise, large].map((kernels) => kernels?.includes("oneDNN")), [false, false]);
});
