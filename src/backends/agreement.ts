/**
 * Checks before a run that its processes do the same: those that do not would wait for each other, or train something
 * else without a word.
 *
 * @module
 */

import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { type Effect, hashOf } from "../compile/collectives.ts";
import { formatAval } from "../trace/dtype.ts";
import type { Communicator, Communicators } from "./communicator.ts";

/** Values that all processes must have in common, by the option's name, as JSON. Objects are compared by their members. */
export type Agreed = { readonly [option: string]: unknown };

/**
 * Refuses processes whose values differ from those of process 0. All processes of the group call it, before the first
 * step, and all throw the same error, so that none waits for the others. Called when processes join, with the version
 * of the library, and by the trainer over processes, with its configuration.
 *
 * @param what The kind of thing that differs, such as `option`; begins the message.
 * @throws {LocalgradError} if they differ; the message names the first option, both values and the process.
 */
export function agreeOn(communicator: Communicator, what: string, values: Agreed): void {
  if (communicator.size === 1) return;
  const own = flat(values);
  const given: unknown = JSON.parse(textFrom(communicator, JSON.stringify([...own]), 0));
  const expected = new Map(given as readonly (readonly [string, string])[]); // this library wrote it, whatever its version
  const names = new Set([...expected.keys(), ...own.keys()]);
  const different = [...names].filter((name) => own.get(name) !== expected.get(name));
  const { rank, size } = communicator;
  const first = firstOf(communicator, different.length > 0);
  if (first === size) return;
  const name = at(different.length > 0 ? different : [""], 0);
  const others = different.length > 1 ? ` (and ${different.length - 1} more)` : "";
  const message = `${what} ${name} is ${shownText(own.get(name))} in process ${rank} of ${size}, but ` +
    `${
      shownText(expected.get(name))
    } in process 0${others}; start all processes of a run with the same options and ` +
    "the same version of localgrad";
  throw new LocalgradError(textFrom(communicator, message, first));
}

/**
 * Refuses processes whose programs exchange different data. All processes call it for the same programs in the same
 * order, before the first run of each, and all of a group throw the same error. Called by the trainer over processes with
 * `effectsOf()` of each step's program.
 *
 * @param name The program's name, for messages.
 * @throws {LocalgradError} if the reductions and broadcasts of a group differ between its processes, or the messages that
 * one sends to another from those that the other receives; the message names the first that does.
 */
export function agreeOnExchanges(
  communicators: Communicators,
  name: string,
  effects: readonly Effect[],
): void {
  for (const [group, communicator] of Object.entries(communicators)) {
    const own = effects.filter((effect) => effect.group === group);
    const common = own.filter(({ op }) => op !== "send" && op !== "receive").map(describe);
    const hash = hashOf(own.filter(({ op }) => op !== "send" && op !== "receive"));
    if (differs(communicator, [hash])) {
      agreeOn(
        communicator,
        `${name}: in the group "${group}", exchange`,
        Object.fromEntries(common.map((text, i) => [`${i + 1}`, text])),
      );
    }
    agreeOnMessages(communicator, `${name}: in the group "${group}"`, own);
  }
}

/** Refuses messages of one process to another that are not those that the other receives. */
function agreeOnMessages(communicator: Communicator, where: string, effects: readonly Effect[]): void {
  const { rank, size } = communicator;
  if (size === 1) return;
  const between = (op: "send" | "receive", other: number) =>
    effects.filter((effect) => effect.op === op && effect.rank === other);
  // One row for each process: hashes of what it sends to each, and of what it receives from each.
  const hashes = new Uint32Array(2 * size * size);
  for (let other = 0; other < size; other++) {
    hashes[2 * size * rank + other] = hashOf(between("send", other));
    hashes[2 * size * rank + size + other] = hashOf(between("receive", other));
  }
  communicator.allReduce(bytesOf(hashes), "u32", "sum").wait();
  for (let from = 0; from < size; from++) {
    for (let to = 0; to < size; to++) {
      if (hashes[2 * size * from + to] === hashes[2 * size * to + size + from]) continue;
      const list = (op: "send" | "receive", other: number) =>
        JSON.stringify(between(op, other).map(describe));
      const sent = JSON.parse(textFrom(communicator, list("send", to), from)) as readonly string[];
      const received = JSON.parse(textFrom(communicator, list("receive", from), to)) as readonly string[];
      let i = 0;
      while (sent[i] === received[i]) i++;
      throw new LocalgradError(
        `${where}: message ${i + 1} from process ${from} to process ${to} is ${
          shownText(sent[i])
        } where it is ` +
          `sent, but ${shownText(received[i])} where it is received; all processes must run the same script`,
      );
    }
  }
}

/** An exchange as text; a message reads the same where it is sent and where it is received. */
function describe({ op, aval, rank, detail }: Effect): string {
  const value = formatAval(aval);
  if (op === "allReduce") return `${detail} of ${value}`;
  return op === "broadcastFrom" ? `broadcast of ${value} from process ${rank}` : `${value} with ${detail}`;
}

/** True on every process if the words of any differ from another's. */
function differs(communicator: Communicator, words: readonly number[]): boolean {
  const { length } = words;
  const both = Uint32Array.from([...words, ...words.map((word) => ~word)]); // the complement's maximum gives the minimum
  communicator.allReduce(bytesOf(both), "u32", "max").wait();
  return both.subarray(0, length).some((most, i) => most !== ~at(both, length + i) >>> 0);
}

/** The first process for which `holds` is true, on every process; their number if there is none. */
function firstOf(communicator: Communicator, holds: boolean): number {
  const first = Int32Array.of(holds ? communicator.rank : communicator.size);
  communicator.allReduce(bytesOf(first), "i32", "min").wait();
  return at(first, 0);
}

/** The text of the process `root`, on every process. */
function textFrom(communicator: Communicator, text: string, root: number): string {
  const own = new TextEncoder().encode(text);
  const length = Int32Array.of(own.length);
  communicator.broadcast(bytesOf(length), root).wait();
  const bytes = communicator.rank === root ? own : new Uint8Array(at(length, 0));
  communicator.broadcast(bytes, root).wait();
  return new TextDecoder().decode(bytes);
}

/** The members of nested objects as JSON, by their path. */
function flat(values: Agreed, path = ""): Map<string, string> {
  return new Map(
    Object.entries(values).flatMap(([name, value]): (readonly [string, string])[] => {
      if (value === undefined) return [];
      if (isPlain(value)) return [...flat(value, `${path}${name}.`)];
      return [[`${path}${name}`, JSON.stringify(value) ?? `${value}`]]; // functions are no JSON
    }),
  );
}

function isPlain(value: unknown): value is Agreed {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.keys(value).length > 0;
}

function shownText(value: string | undefined): string {
  return value ?? "missing";
}

function bytesOf(words: Int32Array | Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
