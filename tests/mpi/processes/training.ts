/**
 * Trains runs one after the other, in the layout of its first argument, on the device that its third names, by default
 * cpu; each process reports what came of them.
 */
import { devices, processes } from "../../../mod.ts";
import { parallelFrom } from "../../../src/local/processes/layout.ts";
import { report } from "../report.ts";
import type { BackendName } from "../../../src/runtime/devices.ts";
import { type Settings, trained } from "../settings.ts";

const [layout = "", runs = "[]", name = "cpu"] = Deno.args;
const parallel = parallelFrom(layout);
const team = await processes.join({
  ...(parallel === undefined ? {} : { parallel }),
  timeLimit: 20,
  threads: 1,
});
await using device = await devices.open(name as BackendName, { processes: team, engine: "wasm" });
const found = [];
for (const settings of JSON.parse(runs) as Settings[]) found.push(await trained(device, settings));
report(team.rank, found);
team.leave();
