/**
 * Times a workload of localgrad as peers/common.ts says:
 *
 *     ours.ts <workload> <device> <batch> [<warmup> <steps>]
 *
 * The workloads are those of workloads.ts.
 */

import { report } from "./peers/common.ts";
import { openDevice, precisionOf, workloads } from "./workloads.ts";

const [name, deviceName] = Deno.args as [string, string];
const [batch, ...turn] = Deno.args.slice(2).map(Number) as [number, ...number[]];
await using device = await openDevice(deviceName);
await report(
  `localgrad, ${deviceName}`,
  turn,
  await workloads[name]!(device, batch, precisionOf(deviceName)),
);
