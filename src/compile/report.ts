import { type Aval, bytesOf, formatAval } from "../trace/dtype.ts";
import { type Lowered, type LoweredStep, writesOf } from "./lower.ts";
import type { Held, MemoryPlan } from "./memory.ts";
import type { MemoryClass, MemoryReport, Step } from "./plan.ts";

/** How many of the largest temporaries the report names. */
const NAMED = 20;

/** Adds up a memory plan: what the peak is, and what holds it. */
export function reportMemory(lowered: Lowered, plan: MemoryPlan): MemoryReport {
  const { program, values, outputs, literals } = lowered;
  const { steps, held, arenaBytes, donors } = plan;
  const live = liveBytes(held, steps.length);
  const fullest = live.reduce((best, bytes, s) => bytes > live[best] ? s : best, 0);
  const atPeak = held.filter(({ start, end }) => start <= fullest && fullest <= end);

  const breakdown: { [C in MemoryClass]?: number } = {};
  const add = (what: MemoryClass, bytes: number) => {
    if (bytes > 0) breakdown[what] = (breakdown[what] ?? 0) + bytes;
  };
  for (const { value, category } of program.inputs) add(category, bytesOf(values[value]));
  outputs.forEach(({ value }, i) => donors[i] < 0 && add("results", bytesOf(values[value])));
  for (const value of literals.keys()) add("constants", bytesOf(values[value]));
  const workspace = sum(atPeak.filter(({ value }) => value === undefined).map(({ bytes }) => bytes));
  add("workspace", workspace);
  add("activations", arenaBytes - workspace); // with what alignment and gaps between values cost

  const origin = new Map<number, Step>();
  lowered.steps.forEach((step, s) => writesOf(step).forEach((value) => origin.set(value, steps[s])));
  return {
    peakBytes: sum(Object.values(breakdown)),
    arenaBytes,
    breakdown,
    heldAtPeak: atPeak.sort((a, b) => b.bytes - a.bytes).slice(0, NAMED).map((piece) => ({
      ...describe(piece, piece.value === undefined ? steps[fullest] : origin.get(piece.value)!, values),
      bytes: piece.bytes,
    })),
    timeline: steps.map((step, s) => ({ scope: scopeOf(step), liveBytes: live[s] })),
  };
}

/** Bytes held at each step. */
export function liveBytes(held: readonly Held[], steps: number): number[] {
  const change = new Float64Array(steps + 1);
  for (const { bytes, start, end } of held) {
    change[start] += bytes;
    change[end + 1] -= bytes;
  }
  const live: number[] = [];
  let bytes = 0;
  for (let s = 0; s < steps; s++) live.push(bytes += change[s]);
  return live;
}

/** Where in the model a step was traced. */
export function scopeOf(step: Step | LoweredStep): string {
  return step.kind === "op" ? step.instruction.scope : step.scope;
}

function describe(piece: Held, step: Step, values: readonly Aval[]): { what: string; scope: string } {
  const by = step.kind === "op" ? step.instruction.op : "kernel";
  const what = piece.value === undefined
    ? `workspace of ${by}`
    : `${formatAval(values[piece.value])} of ${by}`;
  return { what, scope: scopeOf(step) };
}

function sum(list: readonly number[]): number {
  return list.reduce((total, bytes) => total + bytes, 0);
}
