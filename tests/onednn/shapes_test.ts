/**
 * Convolutions with their gradients whose shapes are at the edges of what oneDNN is fast at, in memory that is not zero:
 * a value that a primitive does not store is then seen. `LOCALGRAD_SEED` and `LOCALGRAD_CASES` draw others, and more.
 *
 * @module
 */
import type { Opened } from "../../src/backends/backend.ts";
import { openCpu } from "../../src/backends/cpu/backend.ts";
import { LinearMemory } from "../../src/backends/cpu/memory.ts";
import { compile } from "../../src/compile/compile.ts";
import type { HostData } from "../../src/trace/dtype.ts";
import { skips } from "../gate.ts";
import { inBf16 } from "../ops/bf16.ts";
import { convolutions } from "../ops/cases/contractions.ts";
import { assertSameBits, type Case, checkCases, runAll } from "../ops/check.ts";
import { Random } from "../ops/random.ts";
import { withBackend } from "../ops/suite.ts";
import { unfusedPlan } from "../ops/unfused.ts";
import { openBf16 } from "./bf16.ts";

/** The most multiplications of a case, for the sake of the reference's time. */
const MOST_PRODUCTS = 1e6;

/** Convolutions with taps that meet only padding, whose gradient is zero. */
const unmet = (random: Random): Case[] => [
  ...convolutions(random, [4, 2, 2, 64], [64, 3, 3, 64], { strides: [2, 2] }),
  ...convolutions(random, [9, 2, 2, 32], [16, 7, 7, 32], { strides: [3, 3], padding: [[3, 3], [3, 3]] }),
  ...convolutions(random, [5, 5, 2, 64], [32, 5, 5, 32], {
    strides: [3, 3],
    padding: [[2, 2], [2, 2]],
    groups: 2,
  }),
  ...convolutions(random, [1, 1, 1, 32], [16, 3, 3, 32]),
];

const pads = (random: Random) => [random.int(0, 3), random.int(0, 3)] as const;

/** Random convolutions: odd channels, tiny images, filters larger than an image, strides beyond a filter, uneven padding. */
function drawn(random: Random, count: number): Case[] {
  const cases: Case[] = [];
  while (cases.length < 3 * count) {
    const groups = random.pick([1, 1, 1, 1, 2, 3, 16]), isDepthwise = random.chance(0.15);
    const [from, to] = [1, 2].map(() =>
      groups * Math.ceil(random.pick([1, 3, 7, 8, 16, 17, 24, 33, 64]) / groups)
    );
    const image = [
      random.pick([1, 2, 5, 33]),
      random.pick([1, 2, 3, 7, 13, 24]),
      random.pick([1, 2, 4, 8, 23]),
    ];
    const taps = random.pick([[3, 3], [3, 3], [1, 1], [5, 5], [7, 7], [1, 3], [4, 2]]);
    const attrs = {
      strides: random.pick([[1, 1], [1, 1], [2, 2], [3, 3], [1, 2], [5, 5]] as const),
      dilation: random.pick([[1, 1], [1, 1], [2, 2], [1, 3]] as const),
      padding: [pads(random), pads(random)] as const,
    };
    if (from === undefined || to === undefined) continue;
    const extents = attrs.padding.map(([before, after], axis) => {
      const reach = ((taps[axis] ?? 1) - 1) * (attrs.dilation[axis] ?? 1) + 1;
      const room = (image[1 + axis] ?? 1) + before + after - reach;
      return Math.floor(room / (attrs.strides[axis] ?? 1)) + 1;
    });
    const channels = isDepthwise ? 1 : from / groups;
    const filter = [isDepthwise ? from : to, ...taps, channels];
    const products = [image[0] ?? 1, ...extents, ...filter].reduce((all, size) => all * size, 1);
    if (extents.some((extent) => extent < 1) || products > MOST_PRODUCTS) continue;
    cases.push(
      ...convolutions(random, [...image, from], filter, { ...attrs, groups: isDepthwise ? from : groups }),
    );
  }
  return cases;
}

/** Opens a device whose memory is full of numbers. */
function openUsed(threads: number): Opened {
  const memory = new LinearMemory();
  const bytes = 2 ** 25, address = memory.allocate(bytes, "numbers");
  new Float32Array(memory.memory.buffer, address, bytes / 4).fill(-0.4);
  memory.free(address, bytes);
  return openCpu({ engine: "onednn", memory, threads });
}

const seed = Number(Deno.env.get("LOCALGRAD_SEED") ?? 1);
const count = Number(Deno.env.get("LOCALGRAD_CASES") ?? 8);
const rows = [
  { name: "cpu-onednn", open: () => openCpu({ engine: "onednn" }), as: (each: Case) => each },
  { name: "cpu-bf16", open: openBf16, as: inBf16 },
];

for (const { name, open, as } of rows) {
  const ignore = await skips(name, open);
  Deno.test(`${name}: odd shapes as the reference computes them, with equal bits on any threads`, {
    ignore,
  }, async () => {
    const random = new Random(seed);
    const cases = [...unmet(random), ...drawn(random, count)].map(as);
    const results: (HostData[] | Error)[][] = [];
    for (const threads of [1, 3]) {
      await withBackend(() => openUsed(threads), async (backend) => {
        if (threads > 1) await checkCases(backend, cases, unfusedPlan);
        const runs = cases.map(({ program, inputs }) => () => ({
          plan: compile(program, backend.target, { verify: true }),
          inputs,
        }));
        results.push(await runAll(backend, runs));
      });
    }
    const [one, three] = results;
    if (one === undefined || three === undefined) throw new Error("there are two runs");
    assertSameBits(three, one);
  });
}
