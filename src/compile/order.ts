import { at } from "../base/at.ts";
import { type DraftStep, isCollectiveStep, readsOf, writesOf } from "./draft_plan.ts";
import { StepSequence } from "./step_sequence.ts";

/** Steps that make or free less than this fraction of the peak stay in program order. */
const WORTH_MOVING = 1 / 1024;

/**
 * Moves steps within program order so that less memory is live between them. A step that frees more than it makes runs
 * as early as it can (an update as soon as its gradient exists); one that makes more than it frees waits until its
 * result is needed. Both only if the planned peak does not rise. Steps that exchange data with other processes stay where
 * they are, so that all processes have them in the same order; what reads their results does not come earlier, where it
 * would wait for them.
 */
export function order(sequence: StepSequence): StepSequence {
  const moved = sink(hoist(sequence));
  return moved.peak <= sequence.peak ? moved : sequence;
}

/** Moves steps that free memory towards the start. */
function hoist(sequence: StepSequence): StepSequence {
  const { draft } = sequence;
  const least = sequence.peak * WORTH_MOVING;
  /** The step that each step now follows: itself if it stays. */
  const anchors = [...draft.steps.keys()];
  /** The last step that `others` follow, step `s` aside. */
  const lastOf = (others: readonly number[], s: number): number => {
    let last = -1;
    for (const other of others) if (other !== s) last = Math.max(last, anchors[other] ?? -1);
    return last;
  };
  /** The steps to run at each position, in order. */
  const groups: DraftStep[][] = draft.steps.map((step) => [step]);
  draft.steps.forEach((step, s) => {
    if (isCollectiveStep(step) || readsOf(step).some((value) => sequence.isExchanged(value))) return;
    let anchor = -1;
    /** The bytes that the step frees if it runs after the last of the value's other readers. */
    const frees: { readonly after: number; readonly bytes: number }[] = [];
    for (const value of readsOf(step)) {
      anchor = Math.max(anchor, anchors[sequence.writer(value)] ?? -1);
      const readers = sequence.readers(value);
      if (sequence.arenaBytes(value) === 0 || readers.at(-1) !== s) continue;
      frees.push({ after: lastOf(readers, s), bytes: sequence.arenaBytes(value) });
    }
    let freed = 0;
    for (const value of writesOf(step)) {
      freed -= sequence.arenaBytes(value);
      const overwritten = sequence.predecessor(value);
      if (overwritten !== undefined) anchor = Math.max(anchor, lastOf(sequence.readers(overwritten), s));
    }
    // The earliest place at which it frees enough; what another step still reads there, that step frees.
    for (const { after, bytes } of frees.sort((a, b) => a.after - b.after)) {
      if (freed > least) break;
      anchor = Math.max(anchor, after);
      freed += bytes;
    }
    if (freed <= least || anchor < 0) return;
    at(groups, s).shift();
    anchors[s] = anchor;
    at(groups, anchor).push(step);
  });
  return reordered(sequence, groups.flat());
}

/** Moves steps that make memory towards the end. */
function sink(sequence: StepSequence): StepSequence {
  const { draft } = sequence;
  const least = sequence.peak * WORTH_MOVING;
  /** The step that each step now precedes: itself if it stays. */
  const anchors = [...draft.steps.keys()];
  /** The steps to run at each position, in reverse order. */
  const groups: DraftStep[][] = draft.steps.map((step) => [step]);
  for (let s = draft.steps.length - 1; s >= 0; s--) {
    const step = at(draft.steps, s);
    if (isCollectiveStep(step)) continue;
    let made = 0;
    let anchor = Infinity;
    for (const value of writesOf(step)) {
      made += sequence.arenaBytes(value);
      if (sequence.arenaBytes(value) === 0) anchor = -1; // a result
      for (const reader of sequence.readers(value)) anchor = Math.min(anchor, anchors[reader] ?? Infinity);
    }
    for (const value of readsOf(step)) {
      if (sequence.readers(value).at(-1) === s) made -= sequence.arenaBytes(value);
      const successor = sequence.successor(value);
      if (successor !== undefined) anchor = Math.min(anchor, at(anchors, sequence.writer(successor)));
    }
    if (made <= least || anchor === Infinity || anchor < 0) continue;
    at(groups, s).shift();
    anchors[s] = anchor;
    at(groups, anchor).push(step);
  }
  return reordered(sequence, groups.flatMap((steps) => steps.reverse()));
}

function reordered(sequence: StepSequence, steps: readonly DraftStep[]): StepSequence {
  const { draft } = sequence;
  if (steps.every((step, s) => step === draft.steps[s])) return sequence;
  return new StepSequence({ ...draft, steps });
}
