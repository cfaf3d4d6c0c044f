/** Exchanges through NCCL on simulated cards, one for each process. */
import { assertEquals } from "@std/assert";
import { implementations, skipped, start } from "../mpi/start.ts";
import { ignore } from "./on_simulated.ts";
import { environment } from "./simulated.ts";

const [mpich] = implementations;
const script = (name: string) => import.meta.resolve(`../mpi/processes/${name}.ts`);

/** Registers a test that runs a script in several processes, each of which has to report that it is done. */
function test(name: string, processes: number, path: string, args: readonly string[] = []): void {
  Deno.test({
    name: `cuda, simulated, NCCL: ${name}`,
    ignore: ignore || skipped,
    async fn() {
      const outcome = await start(mpich!, { processes, script: path, args, env: environment });
      assertEquals(outcome.reports, new Array(processes).fill("done"), outcome.stderr + outcome.stdout);
      assertEquals(outcome.code, 0);
    },
  });
}

test("reductions, broadcasts and messages of 2 processes", 2, script("collectives"), ["cuda"]);
test("reductions, broadcasts and messages of 3 processes", 3, script("collectives"), ["cuda"]);
test("one graph with branches, messages that outlive runs, memory", 2, script("nccl"));
