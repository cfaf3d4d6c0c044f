import { assertEquals } from "@std/assert";
import { cli, refused } from "./command_line.ts";
import { within } from "./environment.ts";
import { inFolder } from "./in_folder.ts";

const SMALL = ["--model", "resnet8", "--method", "greedy", "--batch", "16"];
const RUN = [...SMALL, "--train-limit", "16", "--test-limit", "16", "--epochs", "1"];

Deno.test("--precision is refused where the device lacks it, kept in a run, and planned with anywhere", () =>
  within({ LOCALGRAD_CPU: "wasm" }, () =>
    inFolder(async (dir) => {
      const lacks = /device cpu computes in f32, not in (bf16|tf32): leave precision out/;
      for (const precision of ["bf16", "tf32"]) {
        await refused(dir, lacks, "train", ...RUN, "--precision", precision);
      }
      await refused(dir, /--precision must be one of f32, tf32, bf16/, "train", ...RUN, "--precision", "f16");
      await refused(dir, /cpu computes in f32; use precision f32/, "memory", ...SMALL, "--precision", "bf16");

      const { code, stderr } = await cli(dir, "train", ...RUN, "--precision", "f32", "--run", "a");
      assertEquals(code, 0, stderr);
      const resume = ["--run", "a", "--resume", "--precision", "bf16"];
      await refused(dir, /the run was started with --precision f32, not bf16/, "train", ...resume);
      await refused(dir, lacks, "eval", "--run", "a", "--precision", "tf32");
      assertEquals((await cli(dir, "train", "--run", "a", "--resume")).code, 0);

      const activations: number[] = [];
      for (const precision of ["f32", "bf16"]) {
        const { stdout } = await cli(
          dir,
          "memory",
          ...SMALL,
          "--device",
          "cuda",
          "--precision",
          precision,
          "--json",
        );
        activations.push(JSON.parse(stdout).method.breakdown.activations);
      }
      const share = activations[1] / activations[0];
      assertEquals(share > 0.45 && share < 0.6, true, `${share}`);
    })));
