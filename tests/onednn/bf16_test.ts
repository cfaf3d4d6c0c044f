/** What a CPU says that does not compute in bf16: without oneDNN, and with it on another processor. */
import { assertEquals } from "@std/assert";
import { cpuTarget } from "../../src/backends/cpu/target.ts";
import { precisionOn } from "../../src/local/precision.ts";
import { skipped } from "./library.ts";

const messageOf = (run: () => unknown): string => {
  try {
    return String(run());
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

Deno.test("without oneDNN bf16 on the CPU is refused, and the engine and the processor are named", () => {
  assertEquals(
    messageOf(() => precisionOn(cpuTarget(), "bf16")),
    "device cpu computes in f32, not in bf16: leave precision out, or use oneDNN " +
      "(--allow-ffi, and what doctor says is missing) on a processor with AVX-512 BF16 or AMX, or a CUDA device of sm_80 or newer",
  );
});

Deno.test(
  "with instructions that do not multiply bf16 it is refused, and they are named",
  { ignore: skipped },
  async () => {
    const from = (path: string) => new URL(`../../src/${path}`, import.meta.url).href;
    const source = `import { open } from "${from("runtime/devices.ts")}";
    import { precisionOn } from "${from("local/precision.ts")}";
    await using device = await open("cpu", { engine: "onednn", threads: 1 });
    console.log(device.backend.target.precisions.join());
    try { precisionOn(device.backend.target, "bf16"); } catch (error) { console.log(error.message); }`;
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${folder}/open.ts`, source);
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-q", "--no-prompt", "--no-check", "--unstable-worker-options"],
          ...["--allow-read", "--allow-env", "--allow-ffi", `${folder}/open.ts`],
        ],
        env: { NO_COLOR: "1", ONEDNN_MAX_CPU_ISA: "AVX2" },
      }).output();
      assertEquals(new TextDecoder().decode(stdout).trim().split("\n"), [
        "f32",
        "device cpu computes in f32, not in bf16: leave precision out, or use a processor with AVX-512 BF16 or AMX " +
        "(oneDNN uses avx2 here), or a CUDA device of sm_80 or newer",
      ]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);
