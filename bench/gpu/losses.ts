/**
 * Losses of ten MAN steps: `losses.ts --record FILE` computes them with WebAssembly, where they are packed for a card;
 * `losses.ts FILE PRECISION` compares those of a card with them. With `--small` the network is a small one.
 */
import { parseArgs } from "@std/cli/parse-args";
import { devices, local, models, optim } from "../../mod.ts";
import { Device } from "../../src/runtime/arrays.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import { hash, units } from "../../tests/fixtures/formula.ts";
import { LEARNING_RATE, startFromFormula } from "../workloads.ts";
import { onCard, type Opener, say } from "./opener.ts";
import type { Row } from "./row.ts";

/** What is trained: MAN's published cut of ResNet-32, or a small network. */
export const networks = {
  full: { network: "resnet32", modules: 16, batch: 64 },
  small: { network: "resnet8", modules: 3, batch: 4 },
} as const;

/** The network's name. */
export type Size = keyof typeof networks;

const STEPS = 10;

/** A trainer with the formula's starting values, and its step on one batch, which gives the loss of each module. */
export async function trained(device: Device, size: Size, precision: Row["precision"]) {
  const { network, modules, batch } = networks[size];
  const t = await local.trainer({
    device,
    model: models.modelNamed(network, { classes: 10 }),
    modules,
    method: local.methodNamed("man+dgl"),
    optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
    batch,
    precision,
  });
  await startFromFormula(t);
  const x = new HostArray(units("bench.images", batch * 32 * 32 * 3, 2), [batch, 32, 32, 3]);
  const labels = Int32Array.from({ length: batch }, (_, n) => hash("bench.labels", n) % 10);
  const step = async () => (await t.step({ x, labels }, { learningRate: LEARNING_RATE })).losses;
  return { t, step };
}

/** The losses of every module in each step. */
async function losses(device: Device, size: Size, precision: Row["precision"]): Promise<number[][]> {
  const { t, step } = await trained(device, size, precision);
  using _ = t;
  const all: number[][] = [];
  for (let i = 0; i < STEPS; i++) all.push([...await step()]);
  return all;
}

/** The losses on a card. */
export async function onDevice(open: Opener, size: Size, precision: Row["precision"]): Promise<number[][]> {
  await using device = new Device(await open({}));
  return await losses(device, size, precision);
}

/**
 * The largest relative differences allowed at the first step and at the last. f32 differs in the order of sums; the
 * others round operands to 10 and 7 bits. Rounding grows about tenfold in 4.5 steps, see tests/fixtures/README.md.
 */
const ALLOWED: { readonly [P in Row["precision"]]: readonly [number, number] } = {
  f32: [1e-4, 1e-4],
  tf32: [5e-3, 5e-2],
  bf16: [3e-2, 1e-1],
};

/** The largest relative difference between two records at a step. */
function apart(a: readonly number[], b: readonly number[] = []): number {
  if (a.length !== b.length) throw new Error(`${a.length} losses beside ${b.length} recorded ones`);
  return Math.max(...a.map((loss, i) => Math.abs(loss - b[i]!) / Math.abs(b[i]!)));
}

if (import.meta.main) {
  const flags = parseArgs(Deno.args, { string: ["record"], boolean: ["small"] });
  const size = flags.small ? "small" : "full";
  if (flags.record !== undefined) {
    await using device = await devices.open("cpu", { engine: "wasm" });
    await Deno.writeTextFile(flags.record, `${JSON.stringify(await losses(device, size, "f32"))}\n`);
  } else {
    const [file = "", given = "f32"] = flags._.map(String), precision = given as Row["precision"];
    const recorded: number[][] = JSON.parse(await Deno.readTextFile(file));
    const differences = (await onDevice(onCard, size, precision)).map((each, i) => apart(each, recorded[i]));
    say({ differences });
    const [first, last] = ALLOWED[precision];
    const limit = (i: number) => first * (last / first) ** (i / (STEPS - 1));
    const wrong = differences.findIndex((difference, i) => !(difference <= limit(i)));
    if (wrong >= 0) {
      throw new Error(
        `step ${wrong}: losses differ by ${differences[wrong]}, at most ${limit(wrong)} is rounding`,
      );
    }
  }
}
