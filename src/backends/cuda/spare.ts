import { at } from "../../base/at.ts";
import { pendingSteps } from "../../compile/pending.ts";
import type { Plan, Step, Workspace } from "../../compile/plan.ts";
import { bytesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";

/**
 * For each step, the largest part of the arena that holds no live value while it runs; the step's own workspace counts
 * as free. It is scratch for a convolution that does not raise the plan's peak. Computed backwards, like liveness.
 */
export function spareStretches(plan: Plan, alignment: number): Workspace[] {
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
    const gap = largestGap(live, plan.arenaBytes, alignment);
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

/** The largest aligned gap between live values before `end`. */
function largestGap(live: ReadonlyMap<number, number>, end: number, alignment: number): Workspace {
  let best: Workspace = { offset: 0, bytes: 0 };
  let free = 0;
  const consider = (until: number) => {
    const offset = Math.ceil(free / alignment) * alignment;
    if (until - offset > best.bytes) best = { offset, bytes: until - offset };
  };
  for (const [offset, bytes] of [...live].sort(([a], [b]) => a - b)) {
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
