import { type Aval, bytesOf, sameShape } from "../trace/dtype.ts";
import type { ValueId } from "../trace/program.ts";
import { type Interval, packArena } from "./arena.ts";
import { type Lowered, type LoweredStep, readsOf, writesOf } from "./lower.ts";
import type { Location, Step, Target, Workspace } from "./plan.ts";

/** Where everything of a lowered program lives. */
export interface MemoryPlan {
  /** Steps with their workspace. */
  readonly steps: readonly Step[];
  /** Where each value lives; views share. */
  readonly locations: readonly (Location | undefined)[];
  /** For each result, the input it is written over, or −1. */
  readonly donors: readonly number[];
  /** The pieces of the arena in use over time. */
  readonly held: readonly Held[];
  /** Size of the arena. */
  readonly arenaBytes: number;
}

/** A piece of the arena in use over some steps. */
export interface Held extends Interval {
  /** The first value it holds, undefined for workspace. */
  readonly value?: ValueId;
}

/**
 * The outputs of a step that can be written over one of its inputs which nothing needs afterwards, `dying`; each input
 * is taken once.
 */
export function inPlace(
  step: LoweredStep,
  dying: Iterable<ValueId>,
  outputs: readonly ValueId[],
  values: readonly Aval[],
): Map<ValueId, ValueId> {
  const pairs = new Map<ValueId, ValueId>();
  if (step.kind === "op") return pairs;
  const free = [...dying];
  for (const output of outputs) {
    const at = free.findIndex((input) =>
      bytesOf(values[input]) === bytesOf(values[output]) && step.draft.mayOverwrite(input, output)
    );
    if (at >= 0) pairs.set(output, free.splice(at, 1)[0]);
  }
  return pairs;
}

/** Gives every value of a lowered program a place; `steps` are its steps, finished. */
export function planMemory(lowered: Lowered, steps: readonly Step[], target: Target): MemoryPlan {
  const { program, values, views, outputs, literals } = lowered;
  const locations = new Array<Location | undefined>(values.length);
  program.inputs.forEach(({ value }, index) => locations[value] = { kind: "input", index });
  outputs.forEach(({ value }, index) => locations[views[value]] ??= { kind: "output", index });
  [...literals.keys()].forEach((value, index) => locations[value] = { kind: "constant", index });

  const lastRead = new Int32Array(values.length).fill(-1);
  lowered.steps.forEach((step, s) => readsOf(step, views).forEach((value) => lastRead[value] = s));
  const donors = chooseDonors(lowered, lastRead);

  // Every piece of memory: a value, and those written over it in turn.
  const held: (Held & { end: number })[] = [];
  const pieces = new Int32Array(values.length).fill(-1);
  const workspaces = lowered.steps.map((step, s) => {
    const outputs = writesOf(step).filter((output) => locations[output] === undefined);
    const dying = readsOf(step, views).filter((value) => lastRead[value] === s && pieces[value] >= 0);
    const overwritten = inPlace(step, new Set(dying), outputs, values);
    for (const output of outputs) {
      const end = Math.max(s, lastRead[output]);
      const input = overwritten.get(output);
      if (input === undefined) {
        pieces[output] = held.push({ bytes: bytesOf(values[output]), start: s, end, value: output }) - 1;
      } else {
        pieces[output] = pieces[input];
        held[pieces[output]].end = end;
      }
    }
    const bytes = target.workspace(steps[s], values);
    return bytes > 0 ? held.push({ bytes, start: s, end: s }) - 1 : -1;
  });

  const { offsets, arenaBytes } = packArena(held, target);
  values.forEach((_, value) => {
    const piece = pieces[views[value]];
    locations[value] = piece >= 0 ? { kind: "arena", offset: offsets[piece] } : locations[views[value]];
  });
  const place = (step: Step, s: number): Step => {
    const piece = workspaces[s];
    if (piece < 0) return step;
    const workspace: Workspace = { offset: offsets[piece], bytes: held[piece].bytes };
    return { ...step, workspace };
  };
  return { steps: steps.map(place), locations, donors, held, arenaBytes };
}

/** The donors that results can take: none is read after its result is written, and at that step only in place. */
function chooseDonors(lowered: Lowered, lastRead: Int32Array): number[] {
  const { program, values, views, steps, outputs } = lowered;
  const writer = new Int32Array(values.length).fill(-1);
  steps.forEach((step, s) => writesOf(step).forEach((value) => writer[value] = s));
  const taken = new Set<number>();
  return outputs.map(({ value, donor }) => {
    if (donor === undefined || taken.has(donor) || !program.inputs[donor].donated) return -1;
    const input = program.inputs[donor].value;
    const base = views[value];
    const s = writer[base];
    const free = base === input ||
      (s >= 0 && values[input].dtype === values[base].dtype &&
        sameShape(values[input].shape, values[value].shape) &&
        (lastRead[input] < s ||
          (lastRead[input] === s && inPlace(steps[s], [input], [base], values).size > 0)));
    if (!free) return -1;
    taken.add(donor);
    return donor;
  });
}
