import { sizeOf } from "../trace/dtype.ts";
import type { ValueId } from "../trace/program.ts";
import { isIdentity } from "./axes.ts";
import type { Draft, Fit } from "./draft.ts";
import type { Node } from "./kernel.ts";
import type { Change, Schedule } from "./schedule.ts";

/** A kernel over at most this many points costs its launch more than its work. */
const SMALL = 1 << 14;
/** How many of the last kernels that read a value are tried as partners. */
const RECENT = 3;

/**
 * Merges kernels: those over one space that read each other's results or the same values become one pass over it, and
 * small arithmetic on reductions becomes their epilogue. A later kernel joins an earlier one where that stands, or the
 * earlier waits for the later; neither if the peak would rise or a donated input could no longer be written over. The
 * drafts that are scheduled are used up.
 */
export function fuse(schedule: Schedule, maxKernelBuffers: number): Schedule {
  return new Fusion(schedule, maxKernelBuffers).run();
}

/** Two kernels that may become one. */
interface Pair {
  /** Their positions, a before b. */
  readonly a: number;
  readonly b: number;
  readonly earlier: Draft;
  readonly later: Draft;
  /** How the later one becomes part of the earlier. */
  readonly fit: Fit;
}

/** What merging a pair does to memory. */
interface Effect {
  /** Where the merged kernel is. */
  readonly at: number;
  readonly changes: readonly Change[];
  /** What it makes at once beyond what was made there. */
  readonly more: number;
}

/**
 * What makes two kernels partners: one reads what the other writes or reads, or the later has so little to do that the
 * launch is the greater part of it.
 */
type Bond = "values" | "launch";

class Fusion {
  readonly #schedule: Schedule;
  readonly #maxBuffers: number;
  #limit: number;

  constructor(schedule: Schedule, maxBuffers: number) {
    this.#schedule = schedule;
    this.#maxBuffers = maxBuffers;
    this.#limit = schedule.peak;
  }

  /** Goes through the steps once for each bond, the stronger first, so that small kernels do not fill up by chance. */
  run(): Schedule {
    for (const bond of ["values", "launch"] as const) {
      const partners = new Partners(this.#schedule, bond);
      if (bond === "launch") this.#limit = -Infinity; // nothing is held any longer for the sake of a launch
      for (let at = 0; at < this.#schedule.steps.length; at++) {
        let merged: number | undefined = at;
        let last = at;
        while ((merged = this.#join(last, partners)) !== undefined) last = merged;
        partners.note(last);
      }
    }
    return this.#schedule.finish();
  }

  /** Merges the kernel at a position with an earlier one; gives where the merged one is. */
  #join(at: number, partners: Partners): number | undefined {
    const later = this.#schedule.draft(at);
    if (later === undefined) return undefined;
    for (const a of partners.before(at)) {
      const earlier = this.#schedule.draft(a)!;
      const fit = earlier.fit(later);
      if (fit === undefined) continue;
      const pair = { a, b: at, earlier, later, fit };
      const effect = this.#hoist(pair) ?? this.#sink(pair);
      if (effect === undefined || this.#buffers(pair) > this.#maxBuffers) continue;
      this.#apply(pair, effect);
      return effect.at;
    }
    return undefined;
  }

  /** The buffers that the merged kernel touches. */
  #buffers({ b, earlier, later }: Pair): number {
    const written = earlier.outputs;
    const kept = written.filter((output) => this.#schedule.isReadBeyond(output, b));
    const inputs = new Set([...earlier.inputs, ...later.inputs.filter((input) => !written.includes(input))]);
    return inputs.size + kept.length + later.outputs.length;
  }

  /** What it does to run the later kernel where the earlier is, if that may be. */
  #hoist(pair: Pair): Effect | undefined {
    const { a, b, earlier, later } = pair;
    const schedule = this.#schedule;
    const written = earlier.outputs;
    const changes: Change[] = [];
    let more = 0;
    for (const input of later.inputs) {
      if (!written.includes(input) && schedule.writer(input) >= a) return undefined;
      const bytes = schedule.arenaBytes(input);
      const readers = schedule.readers(input);
      if (bytes === 0 || readers.at(-1) !== b) continue;
      const last = Math.max(readers.at(-2) ?? a, a);
      changes.push({ from: last, to: b, bytes: -bytes });
      if (last === a) more -= bytes;
    }
    for (const output of later.outputs) {
      const input = schedule.predecessor(output);
      if (input !== undefined) {
        const others = schedule.readers(input).filter((reader) => reader !== b);
        if ((others.at(-1) ?? a) > a || !overwrites(pair, input, output)) return undefined;
      }
      const bytes = schedule.arenaBytes(output);
      changes.push({ from: a, to: b, bytes });
      more += bytes;
    }
    more = Math.max(0, more);
    return schedule.allows(changes, a, more, this.#limit) ? { at: a, changes, more } : undefined;
  }

  /** What it does to run the earlier kernel where the later is, if that may be. */
  #sink(pair: Pair): Effect | undefined {
    const { a, b, earlier } = pair;
    const schedule = this.#schedule;
    const changes: Change[] = [];
    for (const output of earlier.outputs) {
      if ((schedule.readers(output)[0] ?? b) < b) return undefined;
      changes.push({ from: a, to: b, bytes: -schedule.arenaBytes(output) });
    }
    for (const input of earlier.inputs) {
      const successor = schedule.successor(input);
      const overwritten = successor === undefined ? -1 : schedule.writer(successor);
      if (overwritten > a && overwritten < b) return undefined;
      if (overwritten === b && !overwrites(pair, input, successor!)) return undefined;
      const last = schedule.readers(input).at(-1) ?? b;
      if (last < b) changes.push({ from: last, to: b, bytes: schedule.arenaBytes(input) });
    }
    return schedule.allows(changes, b, 0, this.#limit) ? { at: b, changes, more: 0 } : undefined;
  }

  #apply({ a, b, earlier, later, fit }: Pair, { at, changes, more }: Effect): void {
    const schedule = this.#schedule;
    const written = earlier.outputs;
    if (at === a) schedule.move(b, a, later.outputs, later.inputs);
    else schedule.move(a, b, written, earlier.inputs);
    for (const value of later.inputs) if (written.includes(value)) schedule.forget(value, at);
    const { scope } = schedule.steps[at] as { scope: string };
    earlier.absorb(later, fit);
    for (const value of written) if (!schedule.isReadBeyond(value, at)) earlier.drop(value);
    schedule.steps[a] = schedule.steps[b] = undefined;
    schedule.steps[at] = { kind: "kernel", draft: earlier, scope };
    schedule.hold(changes, at, more);
  }
}

/** Whether a merged pair could write `output` over `input`: of that it would read each point's own element only. */
function overwrites({ earlier, later, fit }: Pair, input: ValueId, output: ValueId): boolean {
  const parts = [
    { draft: earlier, nodes: earlier.list.nodes, main: true },
    { draft: later, nodes: later.list.nodes, main: fit === "beside" },
    { draft: earlier, nodes: earlier.reduce?.list.nodes ?? [], main: false },
    { draft: later, nodes: later.reduce?.list.nodes ?? [], main: false },
  ];
  const stores = (draft: Draft) => draft.stores.some((store) => store.output === output);
  const inMain = stores(earlier) || (fit === "beside" && stores(later));
  const space = inMain ? earlier.space : (earlier.reduce === undefined ? later : earlier).outer;
  const isOwn = (draft: Draft, node: Node): boolean =>
    node.kind === "load"
      ? draft.inputs[node.input] !== input || isIdentity(node.view, space)
      : node.kind !== "randomBits" || draft.inputs[node.key] !== input;
  const ignores = (draft: Draft, node: Node): boolean =>
    node.kind === "load" ? draft.inputs[node.input] !== input : isOwn(draft, node);
  return parts.every(({ draft, nodes, main }) =>
    nodes.every((node) => main === inMain ? isOwn(draft, node) : ignores(draft, node))
  );
}

/** Finds, for a kernel, earlier ones that it may be worth merging with. */
class Partners {
  readonly #schedule: Schedule;
  readonly #bond: Bond;
  /** The last kernels that read each value, and the last small ones over each space. */
  readonly #recent = new Map<ValueId | string, number[]>();

  constructor(schedule: Schedule, bond: Bond) {
    this.#schedule = schedule;
    this.#bond = bond;
  }

  /** Notes a kernel as a partner for later ones. */
  note(at: number): void {
    const draft = this.#schedule.draft(at);
    if (draft === undefined) return;
    for (const key of this.#keys(draft)) {
      const recent = this.#recent.get(key);
      if (recent === undefined) this.#recent.set(key, [at]);
      else if (recent.at(-1) !== at && recent.push(at) > RECENT) recent.shift();
    }
  }

  /** Partners of a kernel, latest first. */
  before(at: number): number[] {
    const draft = this.#schedule.draft(at)!;
    const found = new Set<number>();
    if (this.#bond === "launch" && sizeOf(draft.space) > SMALL) return [];
    if (this.#bond === "values") {
      for (const input of draft.inputs) found.add(this.#schedule.writer(input));
    }
    for (const key of this.#keys(draft)) for (const other of this.#recent.get(key) ?? []) found.add(other);
    return [...found].filter((other) => other >= 0 && other < at && this.#schedule.draft(other) !== undefined)
      .sort((a, b) => b - a);
  }

  /** What partners of a kernel have in common with it: a value of about the size of its space, or a small space. */
  #keys(draft: Draft): (ValueId | string)[] {
    if (this.#bond === "launch") return sizeOf(draft.outer) <= SMALL ? [draft.outer.join()] : [];
    const { values } = this.#schedule.lowered;
    const size = sizeOf(draft.space);
    return draft.inputs.filter((input) => sizeOf(values[input].shape) * 4 >= size);
  }
}
