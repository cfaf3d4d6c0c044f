/**
 * Captured MAN steps: `long.ts STEPS full|small` prints what they hold as one line of JSON, and fails if that grows. The
 * network is that of losses.ts.
 */
import { Device } from "../../src/runtime/arrays.ts";
import { type Size, trained } from "./losses.ts";
import { onCard, say } from "./opener.ts";

/** Bytes by which the driver's own count may differ: the granularity of its allocations. */
const GRANULE = 2 ** 21;

const [steps, size] = [Number(Deno.args[0]), Deno.args[1] as Size];
const backend = await onCard({});
await using device = new Device(backend);
const { t, step } = await trained(device, size, "tf32");
const held: { readonly live: number; readonly driver: number }[] = [];
let loss = NaN;
for (let i = 0; i < steps; i++) {
  loss = (await step()).at(-1)!;
  if (!Number.isFinite(loss)) throw new Error(`the loss became ${loss} in step ${i + 1}`);
  held.push({ live: backend.liveBytes, driver: backend.driverMemory().usedBytes });
}
const [early, last] = [held[Math.min(9, steps - 1)]!, held.at(-1)!];
const planned = t.memory.method.peakBytes;
t[Symbol.dispose]();
say({ steps, loss, planned, held: last });
if (last.live !== early.live || last.driver > early.driver + GRANULE) {
  throw new Error(`memory grew from ${JSON.stringify(early)} to ${JSON.stringify(last)}`);
}
