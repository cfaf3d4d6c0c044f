/** Processes of a run that differ are refused before they train, by the name of what differs. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { implementations, skipped, start } from "./start.ts";

const script = import.meta.resolve("./processes/disagree.ts");
const [mpich, openMpi] = implementations;
const device = 'devices.open: the device is "reference" in process 1 of 2, but "cpu" in process 0; start all';
const batch =
  "trainer: option batch is 8 in process 1 of 2, but 16 in process 0; start all processes of a run with";

for (
  const [mpi, how, expected] of [
    [mpich, "parallel", ['the option parallel is "data" in process 1 of 2, but "modules" in process 0']],
    [mpich, "epochs", [device, batch, "fit: option epochs is 3 in process 1 of 2, but 2 in process 0"]],
    [mpich, "load", [
      device,
      batch,
      "fit: the use of load() is true in process 1 of 2, but false in process 0",
    ]],
    [openMpi, "programs", [device, batch, 'man+dgl step: in the group "data", exchange ']],
    [openMpi, "bits", [device, batch, "local.0.classifier.fc.bias and "]],
  ] as const
) {
  Deno.test({
    name: `${mpi.name}: processes that differ (${how}) are refused, and end`,
    ignore: skipped,
    async fn() {
      const { code, reports, stderr } = await start(mpi, { processes: 2, script, args: [how] });
      assert(code !== 0);
      const messages = reports[0] as readonly string[];
      assertEquals(messages?.length, expected.length, stderr);
      expected.forEach((text, i) => assertStringIncludes(messages[i], text));
    },
  });
}
