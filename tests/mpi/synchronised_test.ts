/** Synchronised batch norm, compared with PyTorch on the whole batch. */
import { assert, assertEquals } from "@std/assert";
import { implementations, skipped, start } from "./start.ts";

Deno.test({
  name: "two processes with synchronised batch norm train as PyTorch does on the whole batch",
  ignore: skipped,
  async fn() {
    const [, openMpi] = implementations;
    const script = import.meta.resolve("./processes/synchronised.ts");
    const { code, stdout, stderr, reports } = await start(openMpi, { processes: 2, script });
    assertEquals(code, 0, stdout + stderr);
    const [{ losses, recorded }, other] = reports as { losses: number[]; recorded: number[] }[];
    assertEquals(other, { losses, recorded });
    const far = losses.every((loss, i) => Math.abs(loss - recorded[i]) > 1e-4 * recorded[i]);
    assert(far, `shares alone have the losses ${losses}, which hardly differ from ${recorded}`);
  },
});
