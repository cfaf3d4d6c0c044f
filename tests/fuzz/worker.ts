/** Fuzzes a target in a thread of its own, so that `run.ts` notices an input that does not end. */

import { parentPort } from "node:worker_threads";
import { fuzz, targetNamed } from "./harness.ts";

/** What the thread is told to do. */
export interface Order {
  readonly name: string;
  readonly seed: number;
  readonly from: number;
  readonly inputs: number;
  /** Where it keeps the index of the input that it is at. */
  readonly at: Int32Array<SharedArrayBuffer>;
}

parentPort!.on("message", async ({ name, at, ...selection }: Order) => {
  const begin = (index: number) => void Atomics.store(at, 0, index);
  parentPort!.postMessage(await fuzz(name, await targetNamed(name), { ...selection, begin }));
});
