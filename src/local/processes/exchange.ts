/**
 * What the training steps of several processes exchange along a pipeline of modules: features and tracked blocks.
 *
 * @module
 */

import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, expectWhole, shown } from "../../base/expect.ts";
import type { Initial } from "../../nn/initial.ts";
import { descend, type Named, select } from "../../nn/named.ts";
import { receive, send } from "../../trace/collectives.ts";
import { type DType, type Shape, sizeOf } from "../../trace/dtype.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { treeFlatten, treeLeaves, treeUnflatten } from "../../trace/tree.ts";
import { bucketsOf, groupsOf, spread } from "./buckets.ts";
import type { Layout, Place } from "./layout.ts";
import type { Given, Variables } from "../method.ts";

/** The group of the processes with the same modules, which share each batch. */
export const DATA = "data";

/** The group of the processes of one pipeline, in the order of their modules. */
export const MODULES = "modules";

/** The values of the first block of a process that the process before it reads. */
export interface BlockExchange {
  /** The block's path in the network's parameters. */
  readonly block: string;
  /** Those it reads as they are when a step begins. */
  readonly before: Variables<Initial>;
  /** Those it reads as a step leaves them. */
  readonly after: Variables<Initial>;
}

/** The values of a block that a process tracks, by the time at which its steps read them. */
export type Tracked<T = Tensor> = { readonly before: Variables<T>; readonly after: Variables<T> };

/**
 * Which state of the next process's first block a process tracks. `exact`: that of the same step, in the step's program, so
 * that results are those of one process. `stale`: the newest that has arrived, for which nobody waits; it is sent after
 * every step, or after `every` so many.
 */
export type Exchange = "exact" | "stale" | { readonly every: number };

/** Refuses anything but an {@link Exchange}. */
export function expectExchange(who: string, exchange: Exchange): void {
  if (exchange === "exact" || exchange === "stale") return;
  if (typeof exchange !== "object" || exchange === null) {
    throw new LocalgradError(
      `${who}: exchange must be "exact", "stale" or { every: 4 }, not ${shown(exchange)}`,
    );
  }
  expectOptions(`${who}: exchange`, exchange, { every: "number" });
  expectWhole(`${who}: exchange.every`, exchange.every);
}

/** What the steps of one process exchange with others. */
export interface Part {
  /** The numbers of processes. */
  readonly layout: Layout;
  /** The place of this process. */
  readonly place: Place;
  /** The shape of an image's features that the process before sends; the first has images instead. */
  readonly input?: Shape;
  /** True if the gradient of the local loss at these features comes with them. */
  readonly gradients?: boolean;
  /** What the process before reads of the first block. */
  readonly sends?: BlockExchange;
  /** What the last module reads of the next process's first block. */
  readonly reads?: BlockExchange;
  /** The most batches whose features wait to be sent. */
  readonly depth: number;
  /** Steps after which the first block is sent outside of the steps' programs, if the exchange is stale. */
  readonly staleEvery?: number;
}

/** The tag of messages between neighbours that programs do not send. */
export const OUTSIDE = 2;

/** Tags of messages between neighbours; micro-batch i has the tag FEATURES + i. */
const BEFORE = 0, AFTER = 1, FEATURES = 3;

/** What a message between neighbours is, by its tag: a tracked block as a step begins or as it leaves it, or features. */
export function messageOf(tag: number): "before" | "after" | "features" {
  return tag === BEFORE ? "before" : tag === AFTER ? "after" : "features";
}

/**
 * Receives the features of each micro-batch, of these numbers of images, from the process before, each followed by the
 * gradient there, if the method reconciles gradients: the order in which {@link sendFeatures} sends them.
 */
export function receiveFeatures(part: Part, images: readonly number[], dtype: DType): Given[] {
  const from = part.place.modules - 1;
  return images.map((count, i) => {
    const next = () =>
      receive({ shape: [count, ...part.input ?? []], dtype }, { group: MODULES, from, tag: FEATURES + i });
    const h = next();
    return part.gradients === true ? { h, gradient: next() } : { h };
  });
}

/** Sends what a module gives for a micro-batch to the next process, if there is one. */
export function sendFeatures({ place, layout, depth }: Part, { h, gradient }: Given, index: number): void {
  if (place.modules + 1 >= layout.modules) return;
  for (const value of gradient === undefined ? [h] : [h, gradient]) {
    send(value, { group: MODULES, to: place.modules + 1, tag: FEATURES + index, depth });
  }
}

/**
 * The next process's first block, as it is when a step begins or as the step leaves it; received when it is first read. With
 * a stale exchange it is `tracked`, an argument of the step.
 */
export function nextBlock(
  { reads, place, staleEvery }: Part,
  when: "before" | "after",
  tracked: Tracked | undefined,
): Variables {
  if (staleEvery !== undefined) {
    if (tracked === undefined) throw new Error("a step with a stale exchange takes the tracked block");
    return tracked[when];
  }
  let received: Variables | undefined;
  const get = () => received ??= receiveVariables(reads?.[when], place.modules + 1, tagOf(when));
  return {
    get params() {
      return get().params;
    },
    get state() {
      return get().state;
    },
  };
}

/**
 * Sends what the process before reads of the first block, as a step leaves it. What is read when a step begins is sent by
 * the step before, right after the block's update, so that nobody waits for it.
 */
export function sendBlock(part: Part, own: Variables): void {
  if (part.staleEvery !== undefined) return;
  sendVariables(part, own, "after");
  sendVariables(part, own, "before");
}

/** Sends what the process before reads when the first step begins. */
export function sendFirstBlock(part: Part, own: Variables): void {
  sendVariables(part, own, "before");
}

/** Sends what the process before reads of the first block, as it is when the first step begins, for a stale exchange. */
export function sendTracked(part: Part, own: Variables): void {
  sendVariables(part, own, "before");
  sendVariables(part, own, "after");
}

/** Receives what {@link sendTracked} sends. */
export function receiveTracked({ reads, place }: Part): Tracked {
  return {
    before: receiveVariables(reads?.before, place.modules + 1, BEFORE),
    after: receiveVariables(reads?.after, place.modules + 1, AFTER),
  };
}

/** What is tracked of a block, as an exchange says. */
export function trackedBy(exchange: BlockExchange | undefined): Tracked<Initial> {
  const { before = NOTHING, after = NOTHING } = exchange ?? {};
  return { before, after };
}

/** What a step takes as the tracked block: nothing, unless the exchange is stale. */
export function trackedIn(part: Part | undefined): Tracked<Initial> {
  return trackedBy(part?.staleEvery === undefined ? undefined : part.reads);
}

/** The variables of a block that the process before reads, out of those that this process trains. */
export function ownTracked<T>({ sends }: Part, { params, state }: Variables<T>): Tracked<T> {
  const block = sends?.block ?? "";
  const chosen = (read: Variables<Initial> = NOTHING): Variables<T> => ({
    params: select(sends === undefined ? {} : descend(params, block), read.params),
    state: select(sends === undefined ? {} : descend(state, block), read.state),
  });
  return { before: chosen(sends?.before), after: chosen(sends?.after) };
}

const NOTHING: Variables<Initial> = { params: {}, state: {} };

/** Receives what the next process's last step has sent for a step that is not made. */
export function receiveLastBlock({ reads, place }: Part): void {
  receiveVariables(reads?.before, place.modules + 1, BEFORE);
}

/** True if a process reads, or sends, values as they are when a step begins: then a first message precedes the first step. */
export function exchangesBefore(exchange: BlockExchange | undefined): exchange is BlockExchange {
  return exchange !== undefined &&
    treeLeaves<Initial>([exchange.before.params, exchange.before.state]).length > 0;
}

function tagOf(when: "before" | "after"): number {
  return when === "before" ? BEFORE : AFTER;
}

function sendVariables({ sends, place }: Part, own: Variables, when: "before" | "after"): void {
  if (sends === undefined) return;
  const block = { params: descend(own.params, sends.block), state: descend(own.state, sends.block) };
  const { params, state } = sends[when];
  const values = treeLeaves<Tensor>([select(block.params, params), select(block.state, state)]);
  for (const { tensor } of bucketsOf(values, Infinity)) {
    send(tensor, { group: MODULES, to: place.modules - 1, tag: tagOf(when) });
  }
}

function receiveVariables(wanted: Variables<Initial> | undefined, from: number, tag: number): Variables {
  const { params = {}, state = {} } = wanted ?? {};
  const { leaves, structure } = treeFlatten<Initial>([params, state]);
  const found = new Array<Tensor>(leaves.length);
  for (const { dtype, members } of groupsOf(leaves, Infinity)) {
    const size = members.reduce((sum, i) => sum + sizeOf(at(leaves, i).shape), 0);
    const all = receive({ shape: [size], dtype }, { group: MODULES, from, tag });
    spread(all, members, leaves, found);
  }
  const [receivedParams, receivedState] = treeUnflatten(structure, found) as [Named<Tensor>, Named<Tensor>];
  return { params: receivedParams, state: receivedState };
}
