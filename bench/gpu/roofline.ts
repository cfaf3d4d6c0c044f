/** The least time a plan could take on a card: each step bound by its memory traffic or by its arithmetic. */
import type { CardFacts } from "../../src/backends/cuda/card.ts";
import type { Plan } from "../../src/compile/plan.ts";
import { classOf, workOf } from "../../src/compile/work.ts";
import type { Roofline, Row } from "./row.ts";

/**
 * Operations of a multiprocessor in a cycle, by architecture, without sparsity: derived from the peak rates that NVIDIA
 * publishes for A100 (sm_80), A40 (86), L40S (89), H100 (90) and B200 (100). Consumer cards of sm_86 and sm_89 do half
 * of the products' rates.
 */
const OPERATIONS: { readonly [architecture: number]: { readonly [P in Row["precision"]]: number } } = {
  75: { f32: 128, tf32: 128, bf16: 128 },
  80: { f32: 128, tf32: 1024, bf16: 2048 },
  86: { f32: 256, tf32: 512, bf16: 1024 },
  89: { f32: 256, tf32: 512, bf16: 1024 },
  90: { f32: 256, tf32: 2048, bf16: 4096 },
  100: { f32: 256, tf32: 4096, bf16: 8192 },
};

/**
 * The peak rates of a card, from the properties that its driver reports; an architecture not listed counts as the one
 * before it.
 */
export function peaksOf(facts: CardFacts, precision: Row["precision"]): Roofline["peaks"] {
  const { architecture, multiprocessors, clock, memoryClock, memoryBus } = facts;
  const known = Object.keys(OPERATIONS).map(Number).filter((listed) => listed <= architecture);
  const each = OPERATIONS[Math.max(75, ...known)];
  const rate = (operations: number) => operations * multiprocessors * clock * 1000;
  return {
    bytesPerSecond: 2 * memoryClock * 1000 * memoryBus / 8, // two transfers a cycle
    operationsPerSecond: rate(each.f32),
    products: rate(each[precision]),
  };
}

/** Counts a plan's bytes and operations, and the least time for them at a card's peak rates. */
export function rooflineOf(plan: Plan, peaks: Roofline["peaks"]): Roofline {
  const classes: { [name: string]: number } = {};
  let [bytes, operations, milliseconds] = [0, 0, 0];
  for (const step of plan.steps) {
    const work = workOf({ steps: [step], values: plan.values });
    const kind = classOf(step);
    const rate = kind === "product" || kind.startsWith("convolution")
      ? peaks.products
      : peaks.operationsPerSecond;
    const least = 1000 * Math.max(work.bytes / peaks.bytesPerSecond, work.operations / rate);
    classes[kind] = (classes[kind] ?? 0) + least;
    bytes += work.bytes;
    operations += work.operations;
    milliseconds += least;
  }
  return { peaks, bytes, operations, milliseconds, classes };
}
