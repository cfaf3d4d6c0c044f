/**
 * Profiles one step of a workload, and prints a line of JSON: `main.ts <workload> <device> <batch> <seconds>`, see
 * profile.ts. The workloads are those of bench/workloads.ts.
 */

import { openDevice, precisionOf, workloads } from "../workloads.ts";
import { type Profile, profileOf } from "./profile.ts";
import { Recorder } from "./recorder.ts";

const [name, deviceName] = Deno.args as [string, string];
const [batch, seconds] = Deno.args.slice(2).map(Number) as [number, number];
await using device = await openDevice(deviceName);
const recorder = new Recorder(device.backend);
const step = await workloads[name]!(device, batch, precisionOf(deviceName));
await step();
const runs = await recorder.record(step);
const profiles: Profile[] = [];
for (const run of runs) profiles.push(await profileOf(device.backend, run, seconds));
console.log(JSON.stringify({ device: device.choice, profiles }));
