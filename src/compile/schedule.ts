import { at } from "../base/at.ts";
import type { ValueId } from "../trace/program.ts";
import { type DraftPlan, readsOf, writesOf } from "./draft_plan.ts";
import type { Overlap, Schedule, Step } from "./plan.ts";

/** One of the two streams of a schedule. */
export type Stream = 0 | 1;

/**
 * Divides the steps of a plan between two streams: each step in turn goes where it can start first. A stream runs its own
 * steps in order, and waits for the other one where a step needs its result, or writes over an input that it reads. A step
 * also waits for those of the other stream that are `window` or more before it, so that memory is not kept for long. A
 * kernel right after another stays with it: a backend may make one launch of both.
 *
 * @param steps The finished steps of the draft.
 * @param donors For each result, the input that it is written over, or −1.
 */
export function scheduleSteps(
  draft: DraftPlan,
  steps: readonly Step[],
  donors: readonly number[],
  { seconds, window }: Overlap,
): Schedule {
  const needs = dependencies(draft, donors);
  const streams: Stream[] = [], finish: number[] = [];
  /** For each step, the last one of the other stream that is done before it starts. */
  const seen: number[] = [];
  const state = (): State => ({ free: 0, seen: -1, distant: -1 });
  const states: readonly [State, State] = [state(), state()];
  steps.forEach((step, s) => {
    if (s >= window) states[at(streams, s - window)].distant = s - window;
    /** The last step of each stream that this one needs. */
    const last = [states[0].distant, states[1].distant] as [number, number];
    for (const need of at(needs, s)) {
      const stream = at(streams, need);
      last[stream] = Math.max(last[stream], need);
    }
    const startOn = (stream: Stream) => Math.max(states[stream].free, finish[last[otherThan(stream)]] ?? 0);
    const choose = (): Stream => {
      const before = streams.at(-1) ?? 0, other = otherThan(before);
      if (step.kind === "kernel" && steps[s - 1]?.kind === "kernel") return before;
      // Where it can start as soon on both, a step follows what it needs.
      const near = last[other] > last[before] ? other : before, far = otherThan(near);
      return startOn(far) < startOn(near) ? far : near;
    };
    const stream = choose(), state = states[stream];
    state.seen = Math.max(state.seen, last[otherThan(stream)]);
    state.free = startOn(stream) + seconds(step, draft.values);
    streams.push(stream);
    seen.push(state.seen);
    finish.push(state.free);
  });
  return { streams, until: lastBeside(streams, seen) };
}

/** A stream so far. */
interface State {
  /** When it has run everything, in seconds. */
  free: number;
  /** The last step of the other stream that it has waited for. */
  seen: number;
  /** Its last step that all steps from now on wait for. */
  distant: number;
}

function otherThan(stream: Stream): Stream {
  return stream === 0 ? 1 : 0;
}

/** For each step, the earlier steps that it has to wait for. */
function dependencies(
  { program, views, outputs, steps }: DraftPlan,
  donors: readonly number[],
): (readonly number[])[] {
  const writers = new Map<ValueId, number>(), readers = new Map<ValueId, number[]>();
  /** The input that a value is written over. */
  const over = new Map<ValueId, ValueId>();
  outputs.forEach(({ value }, i) => {
    const input = program.inputs[at(donors, i)];
    if (input !== undefined) over.set(at(views, value), input.value);
  });
  return steps.map((step, s) => {
    const reads = readsOf(step).map((value) => at(views, value)), writes = writesOf(step);
    const needs = [
      ...reads.flatMap((value): readonly number[] => {
        const writer = writers.get(value);
        return writer === undefined ? [] : [writer];
      }),
      ...writes.flatMap((value): readonly number[] => readers.get(over.get(value) ?? -1) ?? []),
    ];
    for (const value of reads) {
      const known = readers.get(value);
      if (known === undefined) readers.set(value, [s]);
      else known.push(s);
    }
    for (const value of writes) writers.set(value, s);
    return needs;
  });
}

/** For each step, the last later one of the other stream that does not wait for it; itself if there is none. */
function lastBeside(streams: readonly Stream[], seen: readonly number[]): number[] {
  const all = [...streams.keys()];
  const until = [...all];
  for (const stream of [0, 1]) {
    const others = all.filter((s) => streams[s] !== stream);
    let next = 0;
    for (const s of all) {
      if (streams[s] !== stream) continue;
      while (next < others.length && at(seen, at(others, next)) < s) next++;
      if (next > 0) until[s] = Math.max(s, at(others, next - 1));
    }
  }
  return until;
}
