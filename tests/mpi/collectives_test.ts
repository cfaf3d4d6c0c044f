/** Collective ops between real processes, on each backend that has them and each implementation of MPI. */
import { assertEquals } from "@std/assert";
import { openWebgpu } from "../../src/backends/webgpu/backend.ts";
import { skips } from "../gate.ts";
import { implementations, skipped, start } from "./start.ts";

const noWebgpu = await skips("webgpu", () => openWebgpu());
const script = import.meta.resolve("./processes/collectives.ts");

for (const mpi of implementations) {
  for (const backend of mpi.name === "MPICH" ? ["cpu", "reference", "webgpu"] : ["cpu"]) {
    for (const processes of backend === "webgpu" ? [2] : [2, 3]) {
      const name = `${mpi.name}, ${backend}: reductions, broadcasts and messages of ${processes} processes`;
      Deno.test({
        name,
        ignore: skipped || (backend === "webgpu" && noWebgpu),
        async fn() {
          const outcome = await start(mpi, { processes, script, args: [backend] });
          assertEquals(outcome.reports, new Array(processes).fill("done"), outcome.stderr + outcome.stdout);
          assertEquals(outcome.code, 0);
        },
      });
    }
  }
}
