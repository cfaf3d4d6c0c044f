import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { openCpu } from "../../src/backends/cpu/device.ts";
import { openWebgpu } from "../../src/backends/webgpu/backend.ts";
import { skips } from "../gate.ts";

interface Held {
  readonly liveArrays: number;
  readonly liveBuffers: number;
  readonly liveBytes: number;
  /** Bytes of the whole process. */
  readonly resident: number;
}

/** What the process may grow by for reasons of its own; 20 MiB would be 20 KiB a step. */
const SLACK = 20 * 2 ** 20;

const openers = { cpu: () => Promise.resolve(openCpu()), webgpu: () => openWebgpu() };

for (const [name, open] of Object.entries(openers)) {
  const ignore = await skips(name, open);
  Deno.test(
    `a thousand steps on ${name} leave memory flat, and closing leaves nothing`,
    { ignore },
    async () => {
      const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--quiet",
          "--allow-all",
          "--v8-flags=--expose-gc",
          fromFileUrl(new URL("thousand_steps.ts", import.meta.url)),
          name,
        ],
      }).output();
      assert(success, new TextDecoder().decode(stderr));
      const { before, after, closed }: { before: Held; after: Held; closed: Omit<Held, "resident"> } = JSON
        .parse(
          new TextDecoder().decode(stdout),
        );
      const grown = after.resident - before.resident;
      assertEquals({ ...after, resident: 0 }, { ...before, resident: 0 });
      assert(grown < SLACK, `the process grew by ${grown} bytes`);
      assertEquals(closed, { liveArrays: 0, liveBuffers: 0, liveBytes: 0 });
    },
  );
}
