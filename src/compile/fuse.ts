import { at } from "../base/at.ts";
import { sizeOf } from "../trace/dtype.ts";
import type { ValueId } from "../trace/program.ts";
import { isIdentity } from "./axes.ts";
import type { DraftKernel, Fit } from "./draft_kernel.ts";
import type { Node } from "./kernel.ts";
import type { Change, StepSequence } from "./step_sequence.ts";

/** The launch of a kernel over at most this many points costs more than its work. */
const SMALL = 1 << 14;
/** The number of latest kernels that read a value which are tried as partners. */
const RECENT = 3;

const NONE: readonly number[] = [];

/**
 * Merges kernels. Those over one space that read each other's results or the same values become one pass over it, and
 * small arithmetic on reductions becomes their epilogue. A later kernel is hoisted to an earlier one, or else the earlier
 * is delayed to the later; neither if the peak would rise or a donated input could no longer be overwritten. The
 * sequence is changed, and must not be used afterwards; its draft plan stays as it is.
 */
export function fuse(sequence: StepSequence, maxKernelBuffers: number): StepSequence {
  return new Fusion(sequence, maxKernelBuffers).run();
}

/** Two kernels that may become one. */
interface Pair {
  /** Their positions, `a` before `b`. */
  readonly a: number;
  readonly b: number;
  readonly earlier: DraftKernel;
  readonly later: DraftKernel;
  /** The place of the later kernel in the earlier. */
  readonly fit: Fit;
}

/** The effect of merging a pair. */
interface Effect {
  /** The position of the merged kernel. */
  readonly position: number;
  readonly changes: readonly Change[];
  /** The bytes that are live during the merged kernel beyond those during the step at its position before. */
  readonly more: number;
}

/**
 * The reason to merge two kernels: one reads what the other writes or reads, or the later has so little work that its
 * launch costs more.
 */
type Bond = "values" | "launch";

class Fusion {
  readonly #sequence: StepSequence;
  readonly #maxBuffers: number;
  #limit: number;

  constructor(sequence: StepSequence, maxBuffers: number) {
    this.#sequence = sequence;
    this.#maxBuffers = maxBuffers;
    this.#limit = sequence.peak;
  }

  /** Goes through the steps once for each bond, the stronger first, so that small kernels do not fill up at random. */
  run(): StepSequence {
    for (const bond of ["values", "launch"] as const) {
      const partners = new Partners(this.#sequence, bond);
      if (bond === "launch") this.#limit = -Infinity; // nothing is kept live longer to save a launch
      for (const position of this.#sequence.steps.keys()) {
        let last = position;
        for (;;) {
          const merged = this.#merge(last, partners);
          if (merged === undefined) break;
          last = merged;
        }
        partners.add(last);
      }
    }
    return this.#sequence.finish();
  }

  /** Merges the kernel at a position with an earlier one; returns the position of the merged kernel. */
  #merge(position: number, partners: Partners): number | undefined {
    const later = this.#sequence.kernel(position);
    if (later === undefined) return undefined;
    for (const a of partners.before(position, later)) {
      const earlier = this.#sequence.kernel(a);
      const fit = earlier?.fit(later);
      if (earlier === undefined || fit === undefined) continue;
      const pair = { a, b: position, earlier, later, fit };
      const effect = this.#hoist(pair) ?? this.#delay(pair);
      if (effect === undefined || this.#buffers(pair) > this.#maxBuffers) continue;
      this.#apply(pair, effect);
      return effect.position;
    }
    return undefined;
  }

  /** Counts the buffers of the merged kernel. */
  #buffers({ b, earlier, later }: Pair): number {
    const written = earlier.outputs;
    const kept = written.filter((output) => this.#sequence.isReadBeyond(output, b));
    const inputs = new Set([...earlier.inputs, ...later.inputs.filter((input) => !written.includes(input))]);
    return inputs.size + kept.length + later.outputs.length;
  }

  /** Returns the effect of running the later kernel at the position of the earlier; undefined if it may not. */
  #hoist(pair: Pair): Effect | undefined {
    const { a, b, earlier, later } = pair;
    const sequence = this.#sequence;
    const written = earlier.outputs;
    const changes: Change[] = [];
    let more = 0;
    // What reads the result of an exchange would wait for it earlier.
    if (later.inputs.some((input) => sequence.isExchanged(input) && !earlier.inputs.includes(input))) {
      return undefined;
    }
    for (const input of later.inputs) {
      if (!written.includes(input) && sequence.writer(input) >= a) return undefined;
      const bytes = sequence.arenaBytes(input);
      const readers = sequence.readers(input);
      if (bytes === 0 || readers.at(-1) !== b) continue;
      const last = Math.max(readers.at(-2) ?? a, a);
      changes.push({ from: last, to: b, bytes: -bytes });
      if (last === a) more -= bytes;
    }
    for (const output of later.outputs) {
      const input = sequence.predecessor(output);
      if (input !== undefined) {
        const others = sequence.readers(input).filter((reader) => reader !== b);
        if ((others.at(-1) ?? a) > a || !canOverwrite(pair, input, output)) return undefined;
      }
      const bytes = sequence.arenaBytes(output);
      changes.push({ from: a, to: b, bytes });
      more += bytes;
    }
    more = Math.max(0, more);
    return sequence.allows(changes, a, more, this.#limit) ? { position: a, changes, more } : undefined;
  }

  /** Returns the effect of running the earlier kernel at the position of the later; undefined if it may not. */
  #delay(pair: Pair): Effect | undefined {
    const { a, b, earlier } = pair;
    const sequence = this.#sequence;
    const changes: Change[] = [];
    for (const output of earlier.outputs) {
      if ((sequence.readers(output)[0] ?? b) < b) return undefined;
      changes.push({ from: a, to: b, bytes: -sequence.arenaBytes(output) });
    }
    for (const input of earlier.inputs) {
      const successor = sequence.successor(input);
      if (successor !== undefined) {
        const overwritten = sequence.writer(successor);
        if (overwritten > a && overwritten < b) return undefined;
        if (overwritten === b && !canOverwrite(pair, input, successor)) return undefined;
      }
      const last = sequence.readers(input).at(-1) ?? b;
      if (last < b) changes.push({ from: last, to: b, bytes: sequence.arenaBytes(input) });
    }
    return sequence.allows(changes, b, 0, this.#limit) ? { position: b, changes, more: 0 } : undefined;
  }

  #apply({ a, b, earlier, later, fit }: Pair, { position, changes, more }: Effect): void {
    const sequence = this.#sequence;
    const written = earlier.outputs;
    if (position === a) sequence.move(b, a, later.outputs, later.inputs);
    else sequence.move(a, b, written, earlier.inputs);
    for (const value of later.inputs) if (written.includes(value)) sequence.forget(value, position);
    const merged = earlier.copy();
    merged.absorb(later, fit);
    for (const value of written) if (!sequence.isReadBeyond(value, position)) merged.drop(value);
    sequence.replace([a, b], position, merged);
    sequence.change(changes, position, more);
  }
}

/** Tests whether a merged pair could write `output` over `input`: it reads only each point's own element of `input`. */
function canOverwrite({ earlier, later, fit }: Pair, input: ValueId, output: ValueId): boolean {
  const parts = [
    { kernel: earlier, nodes: earlier.list.nodes, isMain: true },
    { kernel: later, nodes: later.list.nodes, isMain: fit === "beside" },
    { kernel: earlier, nodes: earlier.reduce?.list.nodes ?? [], isMain: false },
    { kernel: later, nodes: later.reduce?.list.nodes ?? [], isMain: false },
  ];
  const stores = (kernel: DraftKernel) => kernel.stores.some((store) => store.output === output);
  const isInMain = stores(earlier) || (fit === "beside" && stores(later));
  const space = isInMain ? earlier.space : (earlier.reduce === undefined ? later : earlier).outer;
  const readsOwn = (kernel: DraftKernel, node: Node): boolean =>
    node.kind === "load"
      ? kernel.inputs[node.input] !== input || isIdentity(node.view, space)
      : node.kind !== "randomBits" || kernel.inputs[node.key] !== input;
  const readsNone = (kernel: DraftKernel, node: Node): boolean =>
    node.kind === "load" ? kernel.inputs[node.input] !== input : readsOwn(kernel, node);
  return parts.every(({ kernel, nodes, isMain }) =>
    nodes.every((node) => isMain === isInMain ? readsOwn(kernel, node) : readsNone(kernel, node))
  );
}

/** Finds, for a kernel, earlier ones that may be worth merging with. */
class Partners {
  readonly #sequence: StepSequence;
  readonly #bond: Bond;
  /** The last kernels that read each value, and the last small ones over each space. */
  readonly #recent = new Map<ValueId | string, number[]>();

  constructor(sequence: StepSequence, bond: Bond) {
    this.#sequence = sequence;
    this.#bond = bond;
  }

  /** Makes a kernel a partner for later ones. */
  add(position: number): void {
    const kernel = this.#sequence.kernel(position);
    if (kernel === undefined) return;
    for (const key of this.#keys(kernel)) {
      const recent = this.#recent.get(key);
      if (recent === undefined) this.#recent.set(key, [position]);
      else if (recent.at(-1) !== position && recent.push(position) > RECENT) recent.shift();
    }
  }

  /** Returns the positions of a kernel's partners, the latest first. */
  before(position: number, kernel: DraftKernel): readonly number[] {
    if (this.#bond === "launch" && sizeOf(kernel.space) > SMALL) return NONE;
    const found: number[] = [];
    const add = (other: number): void => {
      if (other < position && this.#sequence.kernel(other) !== undefined) found.push(other);
    };
    if (this.#bond === "values") { for (const input of kernel.inputs) add(this.#sequence.writer(input)); }
    for (const key of this.#keys(kernel)) this.#recent.get(key)?.forEach(add);
    return found.length > 1 ? [...new Set(found)].sort((a, b) => b - a) : found;
  }

  /** Keys that partners share with a kernel: a value of about the size of its space, or a small space. */
  #keys(kernel: DraftKernel): (ValueId | string)[] {
    if (this.#bond === "launch") return sizeOf(kernel.outer) <= SMALL ? [kernel.outer.join()] : [];
    const { values } = this.#sequence.draft;
    const size = sizeOf(kernel.space);
    return kernel.inputs.filter((input) => sizeOf(at(values, input).shape) * 4 >= size);
  }
}
