import type { StepRecord } from "../artifacts/observer.ts";
import type { Pending } from "../backends/communicator.ts";
import { bytesOf } from "../backends/shared_bytes.ts";
import { at } from "../base/at.ts";
import type { Division } from "./processes/division.ts";
import { rankAt } from "../local/processes/layout.ts";
import { type Model, regresses } from "../models/model.ts";

/** What a step measured. */
export interface Measured {
  /** The loss of each module. */
  readonly losses: readonly number[];
  /** The score of the network's own head, see `StepResult.score`. */
  readonly score: number;
  /** The norm of each module's gradients before they were clipped; empty if they are not clipped by norm. */
  readonly norms: readonly number[];
}

/** Reads the metrics of a compiled step of so many modules, see `Stepped.metrics`. */
export function measured(metrics: ArrayLike<number>, modules: number): Measured {
  const values = Array.from(metrics);
  return {
    losses: values.slice(0, modules),
    score: values[modules] ?? NaN,
    norms: values.slice(modules + 1),
  };
}

/** What a step of `images` images measured, for a record. */
export function recordOf(
  { losses, score, norms }: Measured,
  model: Model,
  images: number,
): Pick<StepRecord, "losses" | "accuracy" | "meanSquaredError" | "gradientNorms"> {
  const mean = score / images;
  return {
    losses,
    ...(regresses(model) ? { meanSquaredError: mean } : { accuracy: mean }),
    ...(norms.length === 0 ? {} : { gradientNorms: norms }),
  };
}

/** What the processes after this one of a pipeline measure in a step. */
export interface Elsewhere {
  /** True once it has arrived. */
  done(): boolean;
  /** Waits for it. Returns what the step measured in all modules. */
  joined(own: Measured): Measured;
}

/** What a process waits for that needs nobody else. */
const NOTHING: Elsewhere = { done: () => true, joined: (own) => own };

/** The tag of what a step measured on its way to process 0, in the group of all. */
const MEASURED = 1;

/**
 * Collects what the steps of a pipeline measure in process 0. Nobody waits for a step of another: process 0 is some steps
 * ahead, and takes what has arrived.
 */
export class Collector {
  readonly #division: Division | undefined;
  #sent: { readonly pending: Pending; readonly words: Float32Array }[] = [];

  /** Without a pipeline there is nothing to collect. */
  constructor(pipeline: Division | undefined) {
    // Those that share a batch measure the same.
    this.#division = pipeline?.processes.place.data === 0 ? pipeline : undefined;
  }

  /** To be called for each step that is issued: what others will measure in it. */
  expect(): Elsewhere {
    if (this.#division === undefined || this.#division.processes.rank > 0) return NOTHING;
    const { runs, processes: { layout, communicators: { world } } } = this.#division;
    const coming = runs.slice(1).map(({ first, end }, i) => {
      const words = new Float32Array(lengthFor(end - first));
      const from = rankAt(layout, { data: 0, modules: i + 1 });
      return { words, modules: end - first, pending: world.receive(bytesOf(words), from, MEASURED) };
    });
    return {
      done: () => coming.every(({ pending }) => pending.done()),
      joined(own) {
        const all = coming.map(({ words, modules, pending }) => {
          pending.wait();
          return unpacked(words, modules);
        });
        return joined([own, ...all]);
      },
    };
  }

  /** To be called for each step, in order, once it is read. */
  send(own: Measured): void {
    if (this.#division === undefined || this.#division.processes.rank === 0) return;
    const words = packed(own);
    const pending = this.#division.processes.communicators.world.send(bytesOf(words), 0, MEASURED);
    this.#sent = [...this.#sent.filter(({ pending }) => !pending.done()), { pending, words }];
  }

  /** Waits until all that was sent has left. */
  finish(): void {
    for (const { pending } of this.#sent) pending.wait();
    this.#sent = [];
  }
}

/** What all modules measured, from what each run of them did. */
export function joined(parts: readonly Measured[]): Measured {
  const clipped = parts.every(({ norms, losses }) => norms.length === losses.length);
  return {
    losses: parts.flatMap(({ losses }) => losses),
    score: at(parts, parts.length - 1).score,
    norms: clipped ? parts.flatMap(({ norms }) => norms) : [],
  };
}

/** The words of what so many modules measure: losses, score, whether there are norms, and those. */
function lengthFor(modules: number): number {
  return 2 * modules + 2;
}

function packed({ losses, score, norms }: Measured): Float32Array {
  const words = new Float32Array(lengthFor(losses.length));
  words.set([...losses, score, norms.length, ...norms]);
  return words;
}

function unpacked(words: Float32Array, modules: number): Measured {
  const norms = at(words, modules + 1);
  return {
    losses: [...words.subarray(0, modules)],
    score: at(words, modules),
    norms: [...words.subarray(modules + 2, modules + 2 + norms)],
  };
}

/** What all modules measured in one step, on every process of a pipeline; all wait for it. */
export function measuredByAll(own: Measured, division: Division): Measured {
  const { runs, processes: { place, communicators: { modules: group } } } = division;
  return joined(runs.map(({ first, end }, i) => {
    const words = i === place.modules ? packed(own) : new Float32Array(lengthFor(end - first));
    group.broadcast(bytesOf(words), i).wait();
    return unpacked(words, end - first);
  }));
}
