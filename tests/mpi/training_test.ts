/** Training by real processes: the same as by one, wherever the method allows it. */
import { assert, assertEquals } from "@std/assert";
import { open } from "../../src/runtime/devices.ts";
import { type Settings, type Trained, trained } from "./settings.ts";
import { type Implementation, implementations, skipped, start } from "./start.ts";

const script = import.meta.resolve("./processes/training.ts");
const [mpich, openMpi] = implementations;

/** What each process of a layout reports of each run. */
async function inProcesses(
  mpi: Implementation,
  processes: number,
  layout: string,
  runs: readonly Settings[],
): Promise<readonly (readonly Trained[])[]> {
  const args = [layout, JSON.stringify(runs)];
  const { code, stderr, reports } = await start(mpi, {
    ...{ processes, script, args },
    permissions: ["--allow-write"],
  });
  assertEquals(code, 0, stderr);
  return reports as (readonly Trained[])[];
}

/** What one process reports. */
async function inOne(settings: Settings): Promise<Trained> {
  const key = JSON.stringify(settings);
  const known = ones.get(key);
  if (known !== undefined) return known;
  await using device = await open("cpu", { engine: "wasm", threads: 1 });
  const found = JSON.parse(JSON.stringify(await trained(device, settings))) as Trained;
  ones.set(key, found);
  return found;
}

const ones = new Map<string, Trained>();

const test = (name: string, fn: () => Promise<void>) => Deno.test({ name, ignore: skipped, fn });

const methods: readonly Settings[] = [
  { method: "greedy", epochs: 1 },
  { method: "dgl", epochs: 1, queue: 3 },
  { method: "infopro", epochs: 1, clip: true },
  { method: "man+dgl", epochs: 2 },
  { method: "man after the step", epochs: 1 },
];

for (const [mpi, processes, runs] of [[mpich, 2, methods], [openMpi, 3, methods.slice(-1)]] as const) {
  test(`a pipeline of ${processes} processes has the bits, metrics and predictions of one`, async () => {
    const [first, ...others] = await inProcesses(mpi, processes, "modules", runs);
    for (const [i, settings] of runs.entries()) {
      const expected = await inOne(settings);
      assertEquals(first[i], expected, settings.method);
      for (const other of others) {
        assertEquals(other[i].classes, expected.classes); // all have the whole network
        assertEquals(other[i].events, []);
        for (const value of other[i].bits) {
          assert(expected.bits.some((each) => `${each}` === `${value}`), `${value[0]}`);
        }
      }
    }
  });
}

test("processes that share batches have the same bits, and pipelines of them too", async () => {
  const runs: readonly Settings[] = [{ method: "man+dgl", epochs: 1, clip: true }];
  const [[shared], [other]] = await inProcesses(openMpi, 2, "data", runs);
  assertEquals(other.bits, shared.bits);
  const four = await inProcesses(mpich, 4, "2x2", runs);
  const [[first], [second], [third], [fourth]] = four;
  assertEquals(first.bits, shared.bits);
  assertEquals([...third.bits, ...fourth.bits].toSorted(), first.bits.toSorted());
  assertEquals(second.bits, fourth.bits);
  assertEquals(first.steps, shared.steps);
  assertEquals([third.classes, fourth.classes], [first.classes, first.classes]);
});
