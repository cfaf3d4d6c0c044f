import { at } from "../base/at.ts";
import { type Aval, bytesOf, formatAval } from "../trace/dtype.ts";
import { messageBytes, trafficOf } from "./collectives.ts";
import type { DraftPlan, DraftStep } from "./draft_plan.ts";
import type { Block, MemoryPlan } from "./memory.ts";
import type { MemoryClass, MemoryReport, Step, Target } from "./plan.ts";

/** The number of temporaries, largest first, that the report names. */
const NAMED = 20;

/** Reports the peak of a memory plan, and what takes it up. */
export function reportMemory(draft: DraftPlan, plan: MemoryPlan, target: Target): MemoryReport {
  const { program, values, outputs, literals } = draft;
  const { steps, blocks, arenaBytes, scratchBytes, donors } = plan;
  const live = liveBytes(blocks, steps.length);
  const peak = live.reduce((best, bytes, s) => bytes > at(live, best) ? s : best, 0);
  const atPeak = blocks.filter(({ start, end }) => start <= peak && peak <= end);

  const breakdown: { [C in MemoryClass]?: number } = {};
  const add = (what: MemoryClass, bytes: number) => {
    if (bytes > 0) breakdown[what] = (breakdown[what] ?? 0) + bytes;
  };
  for (const { value, category } of program.inputs) add(category, bytesOf(at(values, value)));
  for (const [i, { value }] of outputs.entries()) {
    if (at(donors, i) < 0) add("results", bytesOf(at(values, value)));
  }
  for (const value of literals.keys()) add("constants", bytesOf(at(values, value)));
  const workspace = sum(atPeak.filter(({ value }) => value === undefined).map(({ bytes }) => bytes));
  add("workspace", workspace);
  add("scratch", scratchBytes);
  add("messages", messageBytes(steps, values, target));
  add("activations", arenaBytes - workspace); // including alignment and gaps between values

  const traffic = trafficOf(steps, values, target);
  return {
    peakBytes: sum(Object.values(breakdown)),
    arenaBytes,
    breakdown,
    heldAtPeak: atPeak.sort((a, b) => b.bytes - a.bytes).slice(0, NAMED).map((block) => ({
      ...describe(block, at(steps, block.start), values),
      bytes: block.bytes,
    })),
    timeline: steps.map((step, s) => ({ scope: scopeOf(step), liveBytes: at(live, s) })),
    ...(traffic === undefined ? {} : { traffic }),
  };
}

/** Returns the bytes of the arena that are live at each step. */
function liveBytes(blocks: readonly Block[], steps: number): number[] {
  const changes = new Array<number>(steps + 1).fill(0);
  const change = (step: number, bytes: number) => changes[step] = at(changes, step) + bytes;
  for (const { bytes, start, end } of blocks) {
    change(start, bytes);
    change(end + 1, -bytes);
  }
  let live = 0;
  return changes.slice(0, steps).map((bytes) => live += bytes);
}

/** Returns the scope of the model in which a step was traced. */
export function scopeOf(step: Step | DraftStep): string {
  return step.kind === "op" ? step.instruction.scope : step.scope;
}

function describe(block: Block, step: Step, values: readonly Aval[]): { what: string; scope: string } {
  const by = step.kind === "op" ? step.instruction.op : "kernel";
  const what = block.value === undefined
    ? `workspace of ${by}`
    : `${formatAval(at(values, block.value))} of ${by}`;
  return { what, scope: scopeOf(step) };
}

function sum(list: readonly number[]): number {
  return list.reduce((total, bytes) => total + bytes, 0);
}
