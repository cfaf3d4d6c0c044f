/** What the processes of a run have to have in common, checked between real processes. */
import { assertEquals } from "@std/assert";
import { implementations, skipped, start } from "./start.ts";

const script = import.meta.resolve("./processes/agreement.ts");
const mend = "start all processes of a run with the same options and the same version of localgrad";
const processor =
  "although all made the same steps: the processes must run on the same kind of processor with the " +
  "same engine and libraries; resume from the last checkpoint";
const sameScript = "all processes must run the same script";

for (const [mpi, processes] of [[implementations[0], 3], [implementations[1], 2]] as const) {
  Deno.test({
    name:
      `${mpi.name}: ${processes} processes that differ in options, exchanges or parameters are refused by name`,
    ignore: skipped,
    async fn() {
      const { reports, stderr, code } = await start(mpi, { processes, script });
      const last = processes - 1;
      const ofLast = `in process ${last} of ${processes}, but`;
      const before = last - 1;
      const expected = {
        options: [
          "agreed",
          "agreed",
          `option method.momentum is 0.9 ${ofLast} 0.99 in process 0; ${mend}`,
          `option batch is 16 ${ofLast} 8 in process 0 (and 2 more); ${mend}`,
          `option seed is missing in process 1 of ${processes}, but 1 in process 0; ${mend}`,
        ],
        programs: [
          "agreed",
          "agreed",
          `step: in the group "world", exchange 2 is missing ${ofLast} "sum of f32[]" in process 0; ${mend}`,
          `step: in the group "world": message 1 from process ${before} to process ${last} is f32[4] with tag 1 where ` +
          `it is sent, but f32[4] with tag 2 where it is received; ${sameScript}`,
          `step: in the group "world": message 1 from process ${before} to process ${last} is f32[4] with tag 1 where ` +
          `it is sent, but f32[2] with tag 1 where it is received; ${sameScript}`,
        ],
        bits: [
          "agreed",
          `ema.weight of process ${last} differs from that of process 0, ${processor}`,
          `ema.bias and 1 more tensors of process ${last} differ from those of process 0, ${processor}`,
          `ema.bias and 1 more tensors of process${processes > 2 ? "es 1, 2" : " 1"} differ from those of ` +
          `process 0, ${processor}`,
        ],
      };
      assertEquals(reports, new Array(processes).fill(expected), stderr);
      assertEquals(code, 0);
    },
  });
}
