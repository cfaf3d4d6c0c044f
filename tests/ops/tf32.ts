import type { Opened } from "../../src/backends/backend.ts";
import { skips } from "../gate.ts";
import { checkCases } from "./check.ts";
import { Random } from "./random.ts";
import { groups, programs, verified, withBackend } from "./suite.ts";

const chosen = [
  "matmul",
  "convolution and its gradients",
  "training steps, donation and odd results",
] as const;

/** Registers the parts of the op suite with products, for a backend that computes them in tf32. */
export async function tf32Suite(open: () => Opened | Promise<Opened>, device: string): Promise<void> {
  const ignore = await skips(device, open);
  for (const group of chosen) {
    Deno.test(
      `${device}: ${group} in tf32 as the reference computes them`,
      { ignore },
      () =>
        withBackend(open, (backend) => {
          const cases = { ...groups, ...programs }[group](new Random(1));
          return checkCases(backend, cases, verified, "tf32");
        }),
    );
  }
}
