import { type LoweredStep, readsOf, writesOf } from "./lower.ts";
import { Schedule } from "./schedule.ts";

/** Steps that hold or free less than this part of the peak stay where the program has them. */
const WORTH_MOVING = 1 / 1024;

/**
 * Moves steps within program order so that less is held between them: a step that frees more than it makes runs as
 * soon as it can (an update as soon as its gradient is there), one that makes more than it frees waits until its result
 * is needed. Both only where the planned peak does not rise.
 */
export function order(schedule: Schedule): Schedule {
  const moved = sink(hoist(schedule));
  return moved.peak <= schedule.peak ? moved : schedule;
}

function hoist(schedule: Schedule): Schedule {
  const { lowered } = schedule;
  const least = schedule.peak * WORTH_MOVING;
  /** Where each step is now: right behind this one, after those put there before. */
  const anchors = lowered.steps.map((_, s) => s);
  const followers: LoweredStep[][] = lowered.steps.map(() => []);
  lowered.steps.forEach((step, s) => {
    let anchor = -1;
    const after = (others: readonly number[]) =>
      others.reduce((last, other) => other < 0 || other === s ? last : Math.max(last, anchors[other]), -1);
    /** What it frees if it runs behind the last of the value's other readers. */
    const frees: { readonly behind: number; readonly bytes: number }[] = [];
    for (const value of readsOf(step, lowered.views)) {
      anchor = Math.max(anchor, after([schedule.writer(value)]));
      const readers = schedule.readers(value);
      if (schedule.arenaBytes(value) === 0 || readers.at(-1) !== s) continue;
      frees.push({ behind: after(readers), bytes: schedule.arenaBytes(value) });
    }
    let freed = 0;
    for (const value of writesOf(step)) {
      freed -= schedule.arenaBytes(value);
      const over = schedule.predecessor(value);
      if (over !== undefined) anchor = Math.max(anchor, after(schedule.readers(over)));
    }
    // As early as it frees enough; what another reader still needs then is freed by that one.
    for (const { behind, bytes } of frees.sort((a, b) => a.behind - b.behind)) {
      if (behind > anchor && freed > least) break;
      anchor = Math.max(anchor, behind);
      freed += bytes;
    }
    const isStuck = freed <= least || anchor < 0;
    if (!isStuck) anchors[s] = anchor;
    followers[anchors[s]].push(step);
  });
  return reordered(schedule, followers.flat());
}

function sink(schedule: Schedule): Schedule {
  const { lowered } = schedule;
  const least = schedule.peak * WORTH_MOVING;
  const anchors = lowered.steps.map((_, s) => s);
  /** Steps to run before each one, the last first. */
  const leaders: LoweredStep[][] = lowered.steps.map((step) => [step]);
  for (let s = lowered.steps.length - 1; s >= 0; s--) {
    const step = lowered.steps[s];
    let made = 0;
    let anchor = Infinity;
    for (const value of writesOf(step)) {
      made += schedule.arenaBytes(value);
      if (schedule.arenaBytes(value) === 0) anchor = -1; // a result
      for (const reader of schedule.readers(value)) anchor = Math.min(anchor, anchors[reader]);
    }
    for (const value of readsOf(step, lowered.views)) {
      if (schedule.readers(value).at(-1) === s) made -= schedule.arenaBytes(value);
      const over = schedule.successor(value);
      if (over !== undefined) anchor = Math.min(anchor, anchors[schedule.writer(over)]);
    }
    if (made <= least || anchor === Infinity || anchor < 0) continue;
    leaders[s].shift();
    anchors[s] = anchor;
    leaders[anchor].push(step);
  }
  return reordered(schedule, leaders.flatMap((steps) => steps.reverse()));
}

function reordered(schedule: Schedule, steps: readonly LoweredStep[]): Schedule {
  const { lowered } = schedule;
  if (steps.every((step, s) => step === lowered.steps[s])) return schedule;
  return new Schedule({ ...lowered, steps });
}
