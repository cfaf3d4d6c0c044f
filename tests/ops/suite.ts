import { assertEquals } from "@std/assert";
import type { Backend, Opened } from "../../src/backends/backend.ts";
import { skips } from "../gate.ts";
import {
  binaryCases,
  castCases,
  compareCases,
  generatorCases,
  selectCases,
  unaryCases,
} from "./cases/elementwise.ts";
import { functionCases } from "./cases/functions.ts";
import { convCases, poolCases, resizeCases } from "./cases/images.ts";
import {
  broadcastCases,
  concatCases,
  padCases,
  sliceCases,
  transposeCases,
  viewCases,
} from "./cases/movement.ts";
import { longCases, unstoredSum } from "./cases/long.ts";
import { longReduceCases, reduceCases } from "./cases/reductions.ts";
import { argmaxCases, gatherCases, matmulCases, scatterAddCases } from "./cases/rows.ts";
import { compile } from "../../src/compile/compile.ts";
import { kernelCases } from "./cases/kernels.ts";
import { programCases } from "./cases/programs.ts";
import { rangeCases } from "./cases/range.ts";
import { emptyCases, recipeCases } from "./cases/recipes.ts";
import {
  assertSameBits,
  type Case,
  checkCases,
  checkKernels,
  checkRange,
  opCase,
  type Planner,
  runAll,
} from "./check.ts";
import { Random } from "./random.ts";
import { unfusedPlan } from "./unfused.ts";

/** The cases of every op, by their names in test names. */
export const groups: Readonly<Record<string, (random: Random) => Case[]>> = {
  "unary functions": unaryCases,
  "binary functions": binaryCases,
  "comparisons": compareCases,
  "select": selectCases,
  "cast": castCases,
  "constants, indices and random bits": generatorCases,
  "broadcast": broadcastCases,
  "transpose": transposeCases,
  "slice": sliceCases,
  "views": viewCases,
  "pad": padCases,
  "concat": concatCases,
  "reductions": reduceCases,
  "long reductions": longReduceCases,
  "argmax": argmaxCases,
  "matmul": matmulCases,
  "convolution and its gradients": convCases,
  "pooling and its gradients": poolCases,
  "resize and its gradient": resizeCases,
  "gather": gatherCases,
  "scatterAdd": scatterAddCases,
};

/** Cases too large to run in every variant. */
const large: typeof groups = { "long axes": longCases };

/** Programs of many ops, which only the compiler can turn into plans. */
export const programs: Readonly<Record<string, (random: Random) => Case[]>> = {
  "training steps, donation and odd results": recipeCases,
  "functions of tensors": functionCases,
  "values without elements": emptyCases,
  "random programs": (random) => programCases(random, 150),
};

/** The seed of the random cases; `LOCALGRAD_SEED` draws others. */
const seed = Number(Deno.env.get("LOCALGRAD_SEED") ?? 1);

/** The cases last drawn: a group runs unfused and then compiled, and what is expected of it is computed once. */
let drawn: { readonly by: (random: Random) => Case[]; readonly cases: Case[] } | undefined;

function draw(by: (random: Random) => Case[]): Case[] {
  if (drawn?.by !== by) drawn = { by, cases: by(new Random(seed)) };
  return drawn.cases;
}

/** What differs from the whole suite. */
export interface SuiteOptions {
  /** The name of one of several ways to open a device. */
  readonly variant?: string;
  /** Runs compiled programs alone, where another variant runs unfused ones too. */
  readonly compiledOnly?: boolean;
  /** The most random programs, and random kernels. */
  readonly most?: number;
}

/**
 * Registers the tests that every backend must pass: each op equals the reference up to rounding in f32.
 */
export async function opSuite(
  open: () => Opened | Promise<Opened>,
  device: string,
  { variant, compiledOnly = false, most = Infinity }: SuiteOptions = {},
): Promise<void> {
  const ignore = await skips(device, open);
  const name = variant === undefined ? device : `${device}, ${variant}`;
  const test = (what: string, cases: (random: Random) => Case[], planner: Planner) =>
    Deno.test(
      `${name}: ${what} as the reference computes them`,
      { ignore },
      () =>
        withBackend(open, (backend) => {
          const all = draw(cases);
          return checkCases(
            backend,
            cases === programs["random programs"] ? all.slice(0, most) : all,
            planner,
          );
        }),
    );
  for (const [group, cases] of Object.entries(groups)) {
    if (!compiledOnly) test(`${group}, unfused,`, cases, unfusedPlan);
    test(`${group}, compiled,`, cases, verified);
  }
  for (const [group, cases] of Object.entries(large)) test(`${group}, compiled,`, cases, verified);
  Deno.test(
    `${name}: a sum of 2²⁵ numbers that are never in memory`,
    { ignore },
    () =>
      withBackend(open, async (backend) => {
        const { program, inputs } = unstoredSum();
        const [sum] = await runAll(backend, [() => ({ plan: verified(program, backend.target), inputs })]);
        if (sum instanceof Error) throw sum;
        assertEquals([...sum[0]], [2 ** 24]);
      }),
  );
  for (const [how, planner] of [["unfused", unfusedPlan], ["compiled", verified]] as const) {
    if (compiledOnly && how === "unfused") continue;
    Deno.test(
      `${name}: functions and their gradients over the whole range of f32, ${how}`,
      { ignore },
      () =>
        withBackend(
          open,
          (backend) => checkRange(backend, rangeCases(new Random(seed)), planner, device === "webgpu"),
        ),
    );
  }
  Deno.test(
    `${name}: random kernels give the reference's bits`,
    { ignore },
    () =>
      withBackend(open, (backend) => {
        const cases = kernelCases(new Random(seed), Math.min(300, most), backend.target);
        return checkKernels(backend, cases);
      }),
  );
  Deno.test(
    `${name}: the same bits every time, and all memory freed`,
    { ignore },
    () =>
      withBackend(open, async (backend) => {
        const random = new Random(seed);
        const cases = [...recipeCases(random), ...convCases(random).slice(0, 12)];
        const runs = cases.map(({ program, inputs }) => () => ({
          plan: verified(program, backend.target),
          inputs,
        }));
        const first = await runAll(backend, runs);
        const { liveBuffers, liveBytes } = backend; // the arena
        const second = await runAll(backend, runs);
        assertSameBits(second, first);
        assertEquals([backend.liveBuffers, backend.liveBytes], [liveBuffers, liveBytes]);
      }),
  );
  Deno.test(
    `${name}: an integer divided by zero is itself with remainder 0, and the minimum divided by −1 wraps`,
    { ignore },
    () =>
      withBackend(open, async (backend) => {
        const fns = ["div", "rem"] as const;
        const operand = { shape: [4], dtype: "i32" } as const;
        const inputs = [Int32Array.of(6, 7, -(2 ** 31), -9), Int32Array.of(0, 2, -1, 4)];
        const cases = fns.map((fn) => opCase("binary", [operand, operand], { fn }, inputs));
        const runs = cases.map(({ program }) => () => ({ plan: verified(program, backend.target), inputs }));
        const results = await runAll(backend, runs);
        const got = results.map((result) => {
          if (result instanceof Error) throw result;
          return [...result[0]];
        });
        assertEquals(got, [[6, 3, -(2 ** 31), -2], [0, 1, 0, -1]]);
      }),
  );
  for (const [group, cases] of Object.entries(programs)) test(`${group}, compiled,`, cases, verified);
}

/** The compiler, its passes and plans verified. */
export const verified: Planner = (program, target) => compile(program, target, { verify: true });

/** Opens a backend for one test, and checks that no buffer is left on it. */
export async function withBackend(
  open: () => Opened | Promise<Opened>,
  test: (backend: Backend) => Promise<void>,
): Promise<void> {
  const opened = await open();
  if (!("backend" in opened)) throw new Error(opened.reason);
  const { backend } = opened;
  try {
    await test(backend);
  } finally {
    await backend.close();
  }
  if (backend.liveBuffers !== 0) throw new Error(`${backend.liveBuffers} buffers are left after close()`);
}
