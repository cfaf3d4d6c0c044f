/** Streams that are none: one LocalgradError each, which says what was given. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { stream } from "../../data/stream.ts";
import { endToEnd, trainer } from "../../local.ts";
import { mlp } from "../../models.ts";
import { sgd } from "../../optim.ts";
import { open } from "../../runtime/devices.ts";

const good = () => ({ x: new Float32Array(16), labels: new Float32Array(8) });

async function* generator() {
  for (;;) yield await Promise.resolve(good());
}

/** A stream whose iterator is `iterator`. */
const of = (iterator: unknown) => ({ [Symbol.asyncIterator]: () => iterator });
/** A stream of `item`, without end. */
const yielding = (item: unknown) => of({ next: () => Promise.resolve({ value: item, done: false }) });

Deno.test("data.stream refuses what is neither a function nor an AsyncIterable, with a remedy", () => {
  const cases: [unknown, string][] = [
    [[good()], "not a list"],
    [{ next: () => good() }, "not an object; give it [Symbol.asyncIterator]() { return this; }"],
    [{ [Symbol.asyncIterator]: 1 }, "not an object"],
    [Promise.resolve(generator()), "not a Promise; await it"],
    [new Set([good()]), "not a Set; make it an async function*"],
    [undefined, "batches"],
  ];
  for (const [batches, message] of cases) {
    assertThrows(() => stream({ batches: batches as never, stepsPerEpoch: 1 }), LocalgradError, message);
  }
});

Deno.test("fit refuses an iterator without next, results that are none, and items that are no batches", async () => {
  await using device = await open("reference");
  using t = await trainer({
    device,
    model: mlp({ features: 2, hidden: [4], outputs: 1 }),
    method: endToEnd(),
    optimizer: sgd(),
    batch: 8,
  });
  const cases: [unknown, string][] = [
    [
      of({}),
      "the batches of stream: its iterator must have next(), but is an object whose next is undefined",
    ],
    [of({ next: 3 }), "is an object whose next is 3"],
    [of(undefined), "its iterator must have next(), but is undefined"],
    [of(Promise.resolve(generator())), "its iterator must have next(), but is a Promise"],
    [of({ next: () => null }), "the batches of stream: next() must return { value, done }, not null"],
    [of({ next: () => 5 }), "next() must return { value, done }, not 5"],
    [
      of({ next: () => ({ value: good() }), return: 1 }),
      "the return of its iterator must be a method, not 1",
    ],
    [() => of({}), "the batches of epoch 0 of stream: its iterator must have next()"],
    [() => generator, "must be an AsyncIterable, not the function generator; call it: generator()"],
    [() => Promise.resolve(generator()), "must be an AsyncIterable, not a Promise"],
    [function* () {
      yield good();
    }, "make it an async function*"],
    [() => {}, "must be an AsyncIterable, not undefined"],
    ...[null, undefined, 3, "x", generator, [], new Float32Array(2), new Map(), { x: 1 }, Symbol("s")].map((
      item,
    ): [unknown, string] => [yielding(item), "fit: batch 1 of epoch 1 of stream "]),
  ];
  for (const [batches, message] of cases) {
    const set = stream({ batches: batches as never, stepsPerEpoch: 1 });
    await assertRejects(() => t.fit(set, { epochs: 1, observers: [] }), LocalgradError, message);
  }
  assertEquals(t.stepsDone, 0);
});
