/** `bench/gpu.sh` on the simulated device: every line runs, and no simulated figure gets among the results. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { environment, openSimulated } from "./cuda/simulated.ts";
import { skips } from "./gate.ts";

const ignore = await skips("cuda-simulated", () => openSimulated());
const root = fromFileUrl(new URL("..", import.meta.url));
const kept = () => [...Deno.readDirSync(`${root}bench/results`)].map(({ name }) => name).sort();

async function run(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd: root,
    env: { NO_COLOR: "1", ...env },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, out, err };
}

async function hasPyTorch(): Promise<boolean> {
  const found = await run("python3", ["-c", "import torch"]).catch(() => undefined);
  return found?.code === 0;
}

Deno.test({
  name: "bench/gpu.sh --dry-run runs every line, says that it is simulated, and resumes where it stopped",
  ignore,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const before = kept();
    try {
      const into = `${folder}/simulated.json`;
      const { code, out, err } = await run("bash", ["bench/gpu.sh", "--dry-run", "--into", into]);
      assertEquals(code, 0, err + out);
      assertStringIncludes(out, "SIMULATED: no figure below means anything");
      assertStringIncludes(out, `written: ${into} (SIMULATED)`);
      assertMatch(out, /localgrad graph +\d+/);
      assertMatch(out, /roofline .* ms: .* a step/);
      const { simulated, rows, others } = JSON.parse(await Deno.readTextFile(into));
      assert(simulated);
      assertEquals(others.length, 1);
      const python = await hasPyTorch();
      for (const result of rows) {
        const measured = result.row.system === "localgrad" || python;
        assertEquals("measured" in result, measured, `${JSON.stringify(result.row)}: ${result.missing}`);
      }
      const [{ measured: ours }] = rows;
      assertStringIncludes(ours.device, "simulated device");
      assert(ours.launches > 50 && ours.roofline.bytes > 0 && ours.roofline.operations > 0);
      assertEquals(Object.keys(ours.classes).sort(), Object.keys(ours.roofline.classes).sort());

      const again = await run("bash", ["bench/gpu.sh", "--no-suites", "--dry-run", "--into", into]);
      assertEquals(again.code, 0, again.err);
      if (python) assert(!again.err.includes("measured"), again.err); // nothing is left to measure
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
    assertEquals(kept(), before);
  },
});

Deno.test({
  name:
    "bench/gpu.sh never saves simulated figures among the results, however the simulated device was selected",
  ignore,
  fn: async () => {
    const before = kept();
    const args = ["run", "--quiet", "--no-check", "-P=gpu", "bench/gpu/run.ts", "quick"];
    const { code, err } = await run(Deno.execPath(), args, environment);
    assertEquals([code, kept()], [2, before]);
    assertStringIncludes(err, "simulated figures are never kept in");
  },
});

Deno.test("bench/gpu.sh refuses unknown flags at once and prints its usage", async () => {
  const refused: readonly (readonly [readonly string[], string])[] = [
    [["--foo"], "there is no --foo"],
    [["full", "--into"], "--into needs a value"],
    [["--no-suites", "--minutes", "soon"], '--minutes must be above 0, not "soon"'],
    [["fast"], 'there is no "fast"; choose quick or full'],
    [["quick", "full"], 'unexpected argument "full"'],
  ];
  for (const [args, says] of refused) {
    const { code, out, err } = await run("bash", ["bench/gpu.sh", ...args]);
    assertEquals([code, out], [2, ""], args.join(" "));
    assertStringIncludes(err, `error: ${says}\nusage: bench/gpu.sh [quick|full]`);
  }
  const { code, out } = await run("bash", ["bench/gpu.sh", "--help"]);
  assertEquals(code, 0);
  assertMatch(out, /^usage: bench\/gpu\.sh/);
});
