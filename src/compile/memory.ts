import { type Aval, bytesOf, sameShape, type Shape } from "../trace/dtype.ts";
import type { ValueId } from "../trace/program.ts";
import { type Interval, packArena } from "./arena.ts";
import { isIdentity } from "./axes.ts";
import type { Node } from "./kernel.ts";
import { type Lowered, readsOf, writesOf } from "./lower.ts";
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

/** Whether a step may write `output` over `input`: it reads each element only to make the same element. */
export function mayOverwrite(step: Step, input: ValueId, output: ValueId, values: readonly Aval[]): boolean {
  if (step.kind !== "kernel" || bytesOf(values[input]) !== bytesOf(values[output])) return false;
  const { space, inputs, nodes, stores, reduce } = step.kernel;
  const index = inputs.indexOf(input);
  if (stores.some((store) => store.output === output)) {
    return readsOwn(nodes, index, space) && !readsAny(reduce?.epilogue ?? [], index);
  }
  const outer = space.filter((_, axis) => !reduce!.axes.includes(axis));
  return readsOwn(reduce!.epilogue, index, outer) && !readsAny(nodes, index);
}

function readsOwn(nodes: readonly Node[], index: number, space: Shape): boolean {
  return nodes.every((node) =>
    node.kind === "load" && node.input === index
      ? isIdentity(node.view, space)
      : !(node.kind === "randomBits" && node.key === index)
  );
}

function readsAny(nodes: readonly Node[], index: number): boolean {
  return nodes.some((node) =>
    (node.kind === "load" && node.input === index) || (node.kind === "randomBits" && node.key === index)
  );
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
  const donors = chooseDonors(lowered, steps, lastRead);

  // Every piece of memory: a value, and those written over it in turn.
  const held: (Held & { end: number })[] = [];
  const pieces = new Int32Array(values.length).fill(-1);
  const workspaces = steps.map((step, s) => {
    const dying = new Set(
      readsOf(lowered.steps[s], views).filter((value) => lastRead[value] === s && pieces[value] >= 0),
    );
    for (const output of writesOf(lowered.steps[s])) {
      if (locations[output] !== undefined) continue;
      const end = Math.max(s, lastRead[output]);
      const over = dying.values().find((input) => mayOverwrite(step, input, output, values));
      if (over === undefined) {
        pieces[output] = held.push({ bytes: bytesOf(values[output]), start: s, end, value: output }) - 1;
      } else {
        dying.delete(over);
        pieces[output] = pieces[over];
        held[pieces[output]].end = end;
      }
    }
    const bytes = target.workspace(step, values);
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
function chooseDonors(lowered: Lowered, steps: readonly Step[], lastRead: Int32Array): number[] {
  const { program, values, views, outputs } = lowered;
  const writer = new Int32Array(values.length).fill(-1);
  lowered.steps.forEach((step, s) => writesOf(step).forEach((value) => writer[value] = s));
  const taken = new Set<number>();
  return outputs.map(({ value, donor }) => {
    if (donor === undefined || taken.has(donor) || !program.inputs[donor].donated) return -1;
    const input = program.inputs[donor].value;
    const base = views[value];
    const s = writer[base];
    const free = base === input ||
      (s >= 0 && values[input].dtype === values[base].dtype &&
        sameShape(values[input].shape, values[value].shape) &&
        (lastRead[input] < s || (lastRead[input] === s && mayOverwrite(steps[s], input, base, values))));
    if (!free) return -1;
    taken.add(donor);
    return donor;
  });
}
