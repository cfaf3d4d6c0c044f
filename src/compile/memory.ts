import { at } from "../base/at.ts";
import { sameShape } from "../trace/dtype.ts";
import type { OpName } from "../trace/ops.ts";
import type { ValueId } from "../trace/program.ts";
import { type Interval, packArena } from "./arena.ts";
import { type DraftPlan, type DraftStep, isCollectiveStep, readsOf, writesOf } from "./draft_plan.ts";
import type { Location, Schedule, Step, Target } from "./plan.ts";
import { scheduleSteps } from "./schedule.ts";

/** A place in memory for everything in a draft plan. */
export interface MemoryPlan {
  /** The steps with their workspace. */
  readonly steps: readonly Step[];
  /** The location of each value; views share one. */
  readonly locations: readonly (Location | undefined)[];
  /** For each result, the input it is written over, or −1. */
  readonly donors: readonly number[];
  /** The blocks of the arena over time. */
  readonly blocks: readonly Block[];
  /** Size of the arena. */
  readonly arenaBytes: number;
  /** Size of the scratch memory that all steps share. */
  readonly scratchBytes: number;
  /** How the steps are divided between two streams, if they are. */
  readonly schedule?: Schedule;
}

/** A block of the arena that is live over some steps. */
export interface Block extends Interval {
  /** The first value in it; undefined for workspace. */
  readonly value?: ValueId;
}

const NONE: ReadonlyMap<ValueId, ValueId> = new Map();

/**
 * Returns the outputs of a step that can be written over an input that nothing needs afterwards; each input is taken
 * once. `bytes` are the sizes of all values.
 */
export function inPlace(
  step: DraftStep,
  isDying: (input: ValueId) => boolean,
  outputs: readonly ValueId[],
  bytes: readonly number[],
): ReadonlyMap<ValueId, ValueId> {
  if (step.kind === "op") {
    const [input, output] = [step.inputs[0], outputs[0]];
    if (input === undefined || output === undefined) return NONE;
    const may = overwritesOperand(step.instruction.op) && bytes[input] === bytes[output] && isDying(input);
    return may ? new Map([[output, input]]) : NONE;
  }
  const { kernel } = step;
  let pairs: Map<ValueId, ValueId> | undefined;
  for (const output of outputs) {
    const input = kernel.inputs.find((input) =>
      bytes[input] === bytes[output] && isDying(input) && kernel.mayOverwrite(input, output) &&
      !(pairs !== undefined && [...pairs.values()].includes(input))
    );
    if (input !== undefined) pairs = (pairs ?? new Map()).set(output, input);
  }
  return pairs ?? NONE;
}

/** Tests whether an op may write its result over its operand: each element is exchanged in its place. */
export function overwritesOperand(op: OpName): boolean {
  return op === "allReduce" || op === "broadcastFrom";
}

/** Gives every value of a draft plan a place; `steps` are its steps, finished. */
export function planMemory(draft: DraftPlan, steps: readonly Step[], target: Target): MemoryPlan {
  const { program, values, bytes: sizes, views, outputs, literals } = draft;
  const locations = new Array<Location | undefined>(values.length);
  program.inputs.forEach(({ value }, index) => locations[value] = { kind: "input", index });
  outputs.forEach(({ value }, index) => locations[at(views, value)] ??= { kind: "output", index });
  [...literals.keys()].forEach((value, index) => locations[value] = { kind: "constant", index });

  const lastRead = new Map<ValueId, number>();
  draft.steps.forEach((step, s) => readsOf(step).forEach((value) => lastRead.set(value, s)));
  const donors = chooseDonors(draft, lastRead);
  // What exchanges data is left in one order, that of the program.
  const schedule = target.overlap === undefined || draft.steps.some(isCollectiveStep)
    ? undefined
    : scheduleSteps(draft, steps, donors, target.overlap);
  /** The last step that may run at the same time as one. */
  const until = (s: number) => schedule === undefined ? s : at(schedule.until, s);
  const inUse = usesOf(draft, until);

  // A block holds a value, and then those written over it in turn.
  const blocks: (Block & { end: number })[] = [];
  const blockOf = new Map<ValueId, Block & { end: number }>();
  const workspaces = new Map<Step, Block>();
  let scratchBytes = 0;
  draft.steps.forEach((step, s) => {
    const outputs = writesOf(step).filter((output) => locations[output] === undefined);
    const isDying = (value: ValueId) =>
      lastRead.get(value) === s && (inUse.get(value)?.before ?? -1) < s && blockOf.has(value);
    const overwritten = inPlace(step, isDying, outputs, sizes);
    for (const output of outputs) {
      const end = Math.max(until(s), inUse.get(output)?.until ?? -1);
      const input = overwritten.get(output);
      const taken = input === undefined ? undefined : blockOf.get(input);
      if (taken !== undefined) taken.end = Math.max(taken.end, end);
      const block = taken ?? { bytes: at(sizes, output), start: s, end, value: output };
      if (taken === undefined) blocks.push(block);
      blockOf.set(output, block);
    }
    const finished = at(steps, s);
    scratchBytes = Math.max(scratchBytes, target.scratch?.(finished, values) ?? 0);
    const [before, after] = [steps[s - 1], steps[s + 1]];
    const bytes = target.workspace(finished, values, {
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
    });
    if (bytes <= 0) return;
    const workspace = { bytes, start: s, end: until(s) };
    blocks.push(workspace);
    workspaces.set(finished, workspace);
  });

  const { offsets, arenaBytes } = packArena(blocks, target);
  const offsetOf = new Map(blocks.map((block, i): [Block, number] => [block, at(offsets, i)]));
  views.forEach((view, value) => {
    const offset = offsetIn(offsetOf, blockOf.get(view));
    locations[value] = offset === undefined ? locations[view] : { kind: "arena", offset };
  });
  const placed = steps.map((step): Step => {
    const block = workspaces.get(step);
    const offset = offsetIn(offsetOf, block);
    return block === undefined || offset === undefined
      ? step
      : { ...step, workspace: { offset, bytes: block.bytes } };
  });
  return {
    ...{ steps: placed, locations, donors, blocks, arenaBytes, scratchBytes },
    ...(schedule === undefined ? {} : { schedule }),
  };
}

/** The last step that may run while a value is read: at any time, and by others than its last reader. */
interface Use {
  readonly until: number;
  readonly before: number;
}

/** The use of every value that is read, given the last step that may run at the same time as each. */
function usesOf(draft: DraftPlan, until: (step: number) => number): ReadonlyMap<ValueId, Use> {
  const uses = new Map<ValueId, Use>();
  draft.steps.forEach((step, s) => {
    for (const value of new Set(readsOf(step))) {
      const before = uses.get(value)?.until ?? -1;
      uses.set(value, { until: Math.max(before, until(s)), before });
    }
  });
  return uses;
}

function offsetIn(offsets: ReadonlyMap<Block, number>, block: Block | undefined): number | undefined {
  return block === undefined ? undefined : offsets.get(block);
}

/** Chooses the donors that results overwrite: none is read after its result is written, and at that step only in place. */
function chooseDonors(draft: DraftPlan, lastRead: ReadonlyMap<ValueId, number>): number[] {
  const { program, values, bytes, views, steps, outputs } = draft;
  const writers = new Map<ValueId, number>();
  steps.forEach((step, s) => writesOf(step).forEach((value) => writers.set(value, s)));
  const taken = new Set<number>();
  const isFree = (input: ValueId, result: ValueId): boolean => {
    const base = at(views, result);
    if (base === input) return true;
    const writer = writers.get(base);
    if (writer === undefined) return false;
    const [old, { dtype }] = [at(values, input), at(values, base)];
    if (old.dtype !== dtype || !sameShape(old.shape, at(values, result).shape)) return false;
    const last = lastRead.get(input) ?? -1;
    return last < writer ||
      (last === writer && inPlace(at(steps, writer), (value) => value === input, [base], bytes).size > 0);
  };
  return outputs.map(({ value, donor }) => {
    if (donor === undefined || taken.has(donor)) return -1;
    const input = at(program.inputs, donor);
    if (!input.donated || !isFree(input.value, value)) return -1;
    taken.add(donor);
    return donor;
  });
}
