/**
 * The first things that a card has to do: `checks.ts NAME` opens it and does one of them. Prints one line of JSON, or
 * fails with what went wrong.
 */
import { assertEquals } from "@std/assert";
import type { ProductPrecision } from "../../src/compile/plan.ts";
import { dgl, trainer } from "../../src/local.ts";
import { resnet8 } from "../../src/models/resnet.ts";
import { publishedSgd } from "../../src/optim/published.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import { convCases } from "../../tests/ops/cases/images.ts";
import { recipeCases } from "../../tests/ops/cases/recipes.ts";
import { matmulCases } from "../../tests/ops/cases/rows.ts";
import { inBf16 } from "../../tests/ops/bf16.ts";
import { type Case, checkCases } from "../../tests/ops/check.ts";
import { Random } from "../../tests/ops/random.ts";
import { verified } from "../../tests/ops/suite.ts";
import { onCard, type Opener, say } from "./opener.ts";

type Check = (open: Opener) => Promise<void>;

/** Some cases of the op suite, as the reference computes them. */
function cases(some: (random: Random) => readonly Case[], precision: ProductPrecision | "bf16"): Check {
  return async (open) => {
    const backend = await open({ engines: "heuristic", ...(precision === "bf16" ? {} : { precision }) });
    try {
      const list = some(new Random(1));
      if (precision === "bf16") await checkCases(backend, list.map(inBf16), verified);
      else await checkCases(backend, list, verified, precision);
    } finally {
      await backend.close();
    }
  };
}

/** A product of 128 × 128 matrices. */
const product = (random: Random) => matmulCases(random).slice(6, 7);
/** A 3 × 3 convolution of 16 channels with both gradients. */
const convolution = (random: Random) => convCases(random).slice(3, 6);

/** Losses of local training steps on one batch. */
async function losses(open: Opener, graphs: boolean): Promise<number[]> {
  const BATCH = 16, STEPS = 4;
  // Engines that are timed may be others on the second device, with other bits.
  await using device = new Device(await open({ graphs, engines: "heuristic" }));
  using t = await trainer({
    device,
    model: resnet8(),
    modules: 3,
    method: dgl(),
    optimizer: sgd(publishedSgd),
    batch: BATCH,
  });
  const random = new Random(7);
  const x = new HostArray(random.floats(BATCH * 32 * 32 * 3), [BATCH, 32, 32, 3]);
  const labels = Int32Array.from(random.ints(BATCH, 0, 9));
  const all: number[] = [];
  for (let i = 0; i < STEPS; i++) all.push(...(await t.step({ x, labels }, { learningRate: 0.01 })).losses);
  return all;
}

/** The checks by name, in order. */
export const checks: { readonly [name: string]: Check } = {
  "it opens": async (open) => await (await open({})).close(),
  "a product in f32": cases(product, "f32"),
  "a product in tf32": cases(product, "tf32"),
  "a product in bf16": cases(product, "bf16"),
  "a convolution in f32": cases(convolution, "f32"),
  "a convolution in tf32": cases(convolution, "tf32"),
  "a convolution in bf16": cases(convolution, "bf16"),
  "fused kernels": cases((random) => recipeCases(random).slice(0, 3), "f32"),
  "a captured step gives the bits of an issued one": async (open) => {
    const issued = await losses(open, false);
    assertEquals(await losses(open, true), issued);
    if (!issued.every(Number.isFinite)) throw new Error(`the losses are ${issued.join(", ")}`);
  },
};

if (import.meta.main) {
  const [name = ""] = Deno.args;
  const start = performance.now();
  await checks[name]!(onCard);
  say({ seconds: (performance.now() - start) / 1000 });
}
