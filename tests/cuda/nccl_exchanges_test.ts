/** Exchanges through NCCL on simulated cards, one for each process. */
import { assertEquals } from "@std/assert";
import { Device } from "../../src/runtime/arrays.ts";
import { type Settings, type Trained, trained } from "../mpi/settings.ts";
import { implementations, type Outcome, skipped, start, type StartOptions } from "../mpi/start.ts";
import { ignore } from "./on_simulated.ts";
import { environment, openSimulated, report } from "./simulated.ts";

/** Starts processes by MPICH, and expects all to end well. */
async function started(
  script: string,
  options: Partial<StartOptions> & { processes: number },
): Promise<Outcome> {
  const [mpich] = implementations;
  const path = import.meta.resolve(`../mpi/processes/${script}.ts`);
  const outcome = await start(mpich!, { ...options, script: path, env: environment });
  assertEquals(outcome.code, 0, outcome.stderr + outcome.stdout);
  return outcome;
}

const test = (name: string, fn: () => Promise<void>) =>
  Deno.test({ name: `cuda, simulated, NCCL: ${name}`, ignore: ignore || skipped, fn });

const scripts: readonly (readonly [name: string, script: string, processes: number])[] = [
  ["reductions, broadcasts and messages of 3 processes", "collectives", 3],
  ["one graph with branches, messages that outlive runs, memory", "nccl", 2],
  ["failures, and what does not match another process", "nccl_faults", 2],
];
for (const [name, script, processes] of scripts) {
  test(name, async () => {
    const { reports } = await started(script, { processes, args: ["cuda"] });
    assertEquals(reports, new Array(processes).fill("done"));
  });
}

test("a pipeline of 2 processes has the bits and metrics of one", async () => {
  const settings: Settings = { method: "man+dgl", epochs: 1 };
  const args = ["modules", JSON.stringify([settings]), "cuda"];
  const { reports: [first] } = await started("training", { processes: 2, args });
  const opened = await openSimulated();
  if (!("backend" in opened)) throw new Error(opened.reason);
  const device = new Device(opened.backend);
  const expected = JSON.parse(JSON.stringify(await trained(device, settings))) as Trained;
  await device.close();
  assertEquals(first, [expected]);
  assertEquals(report(), "");
});
