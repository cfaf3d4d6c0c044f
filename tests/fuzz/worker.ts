/** Fuzzes a target in a separate thread, so that `run.ts` notices an input that does not end. */

import { parentPort } from "node:worker_threads";
import { fuzz, targetNamed } from "./harness.ts";

/** The thread's task. */
export interface Order {
  readonly name: string;
  readonly seed: number;
  readonly from: number;
  readonly inputs: number;
  /** Shared memory for the index of the current input. */
  readonly at: Int32Array<SharedArrayBuffer>;
}

parentPort!.on("message", async ({ name, at, ...selection }: Order) => {
  const begin = (index: number) => void Atomics.store(at, 0, index);
  parentPort!.postMessage(await fuzz(name, await targetNamed(name), { ...selection, begin }));
});
