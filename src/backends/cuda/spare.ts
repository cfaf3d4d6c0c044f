import { at } from "../../base/at.ts";
import { pendingSteps } from "../../compile/pending.ts";
import type { Plan, Schedule, Step, Workspace } from "../../compile/plan.ts";
import { bytesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";

/**
 * For each step, the largest part of the arena that holds no live value while it runs; the step's own workspace counts
 * as free. It is scratch for a convolution that does not raise the plan's peak. Computed backwards, like liveness.
 */
export function spareStretches(plan: Plan, alignment: number): Workspace[] {
  if (plan.schedule !== undefined) return spareBeside(plan, plan.schedule, alignment);
  const live = new Map<number, number>(); // offset → bytes
  const place = (value: number) => {
    const location = plan.locations[value];
    return location?.kind === "arena" ? location.offset : undefined;
  };
  const add = (value: number) => {
    const offset = place(value);
    if (offset !== undefined) {
      live.set(offset, Math.max(live.get(offset) ?? 0, bytesOf(at(plan.values, value))));
    }
  };
  /** What is exchanged stays live up to the step that waits for it, even if nothing reads it. */
  const exchanged = Map.groupBy(pendingSteps(plan), ({ before }) => before - 1);
  const last = plan.steps.length - 1;
  const gaps = plan.steps.toReversed().map((step, i) => {
    const underWay = exchanged.get(last - i)?.map(({ instruction }) => instruction.output) ?? [];
    const reads = [...readsOf(step), ...underWay], writes = writesOf(step);
    writes.forEach(add);
    const before = new Map(live); // a value that is written here and never read is live in this step only
    reads.forEach(add);
    const gap = largestGap([...live], plan.arenaBytes, alignment);
    live.clear();
    for (const [offset, bytes] of before) live.set(offset, bytes);
    writes.forEach((value) => {
      const offset = place(value);
      if (offset !== undefined) live.delete(offset);
    });
    reads.forEach(add);
    return gap;
  });
  return gaps.reverse();
}

/** The ops that have a use for scratch. */
const CONVOLUTIONS: ReadonlySet<string> = new Set(["conv", "convInputGrad", "convFilterGrad"]);

/** Bytes of scratch for an engine's tables. */
const TABLES = 2 * 2 ** 20;

/** A part of the arena that is in use from one step to another, both included. */
interface Used extends Workspace {
  readonly start: number;
  readonly end: number;
}

/**
 * The same for steps on two streams. What steps that may run at the same time use is not free. A step takes no more than
 * engines use, which is its operands in another order and some tables, so that there is some left for the next.
 */
function spareBeside({ steps, values, locations, arenaBytes }: Plan, { until }: Schedule, alignment: number) {
  const used: (Used & { end: number })[] = [];
  /** What was written last at each offset, to which reads of views belong too. */
  const written = new Map<number, Used & { end: number }>();
  const offsetOf = (value: ValueId) => {
    const location = locations[value];
    return location?.kind === "arena" ? location.offset : -1;
  };
  steps.forEach((step, s) => {
    const end = at(until, s);
    for (const value of readsOf(step)) {
      const read = written.get(offsetOf(value));
      if (read !== undefined) read.end = Math.max(read.end, end);
    }
    for (const value of writesOf(step)) {
      const offset = offsetOf(value);
      if (offset < 0) continue;
      const made = { offset, bytes: bytesOf(at(values, value)), start: s, end };
      written.set(offset, made);
      used.push(made);
    }
  });
  const workspaces: Used[] = steps.flatMap(({ workspace }, s) =>
    workspace === undefined ? [] : [{ ...workspace, start: s, end: at(until, s) }]
  );
  return steps.map((step, s): Workspace => {
    if (step.kind !== "op" || !CONVOLUTIONS.has(step.instruction.op)) return { offset: 0, bytes: 0 };
    const end = at(until, s);
    const others = [...used, ...workspaces.filter(({ start }) => start !== s)]
      .filter((other) => other.start <= end && s <= other.end);
    const gap = largestGap(others.map(({ offset, bytes }) => [offset, bytes]), arenaBytes, alignment);
    const operands = [...readsOf(step), ...writesOf(step)].map((value) => bytesOf(at(values, value)));
    const most = operands.reduce((sum, bytes) => sum + bytes, TABLES);
    const taken = { offset: gap.offset, bytes: Math.min(gap.bytes, most) };
    used.push({ ...taken, start: s, end });
    return taken;
  });
}

/** The largest aligned gap between parts in use, by offset and bytes, before `end`. */
function largestGap(live: readonly (readonly [number, number])[], end: number, alignment: number): Workspace {
  let best: Workspace = { offset: 0, bytes: 0 };
  let free = 0;
  const consider = (until: number) => {
    const offset = Math.ceil(free / alignment) * alignment;
    if (until - offset > best.bytes) best = { offset, bytes: until - offset };
  };
  for (const [offset, bytes] of live.toSorted(([a], [b]) => a - b)) {
    consider(offset);
    free = Math.max(free, offset + bytes);
  }
  consider(end);
  return best;
}

/** The values that a step reads. */
export function readsOf(step: Step): readonly ValueId[] {
  return step.kind === "kernel" ? step.kernel.inputs : step.instruction.inputs;
}

/** The values that a step writes. */
function writesOf(step: Step): readonly ValueId[] {
  if (step.kind === "op") return [step.instruction.output];
  return [...step.kernel.stores, ...step.kernel.reduce?.stores ?? []].map(({ output }) => output);
}
