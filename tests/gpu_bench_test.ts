/** `bench/gpu.sh` on the simulated device: every line runs, and no simulated figure gets among the results. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { environment, openSimulated } from "./cuda/simulated.ts";
import { skips } from "./gate.ts";

const ignore = await skips("cuda-simulated", () => openSimulated());
const root = fromFileUrl(new URL("..", import.meta.url));
const kept = () => [...Deno.readDirSync(`${root}bench/results`)].map(({ name }) => name).sort();

async function run(
  program: string,
  args: readonly string[],
  { env = {}, cwd = root }: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {},
) {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1", ...env },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, out, err };
}

async function hasPyTorch(): Promise<boolean> {
  const found = await run("python3", ["-c", "import torch"]).catch(() => undefined);
  return found?.code === 0;
}

/** The results of a stage. */
async function stage(folder: string, name: string) {
  return JSON.parse(await Deno.readTextFile(`${folder}/${name}.json`));
}

/** Copies the project, without what is not part of it. */
async function copyTo(folder: string): Promise<void> {
  const { out } = await run("git", ["ls-files", "--cached", "--others", "--exclude-standard"]);
  const files = out.trim().split("\n").filter((path) => !path.startsWith(".gpu/"));
  const { code, err } = await run("cp", ["--parents", "-t", folder, ...files]);
  assertEquals(code, 0, err);
  // The simulated device takes long to build.
  await run("cp", ["-r", "--parents", "-t", folder, ".cache"]);
}

/** No program may reach another machine. */
const offline = { HTTP_PROXY: "http://127.0.0.1:9", HTTPS_PROXY: "http://127.0.0.1:9" };

Deno.test({
  name: "bench/gpu.sh --dry-run runs every line in a copy with nothing but what was packed, and no network",
  ignore,
  fn: async () => {
    const copy = await Deno.makeTempDir(), temporary = await Deno.makeTempDir();
    const before = kept();
    try {
      await copyTo(copy);
      const packed = await run("bash", ["bench/gpu-pack.sh", "--dry"], {
        cwd: copy,
        env: { PACK_LEVEL: "-0" },
      });
      assertEquals(packed.code, 0, packed.err + packed.out);
      const cubins = () =>
        [...Deno.readDirSync(`${temporary}/localgrad-gpu/dry-cache/localgrad/cubin`)].map(({ name }) => name);
      const into = `${temporary}/results`;
      const env = { ...offline, TMPDIR: temporary, HOME: temporary, DENO_DIR: `${temporary}/none` };
      // Time for a busy machine; a card's budget of a minute for the first stage would not always do.
      const args = ["bench/gpu.sh", "--dry-run", "--budget", "5700", "--into", into];
      const { code, out, err } = await run("bash", args, { cwd: copy, env });
      assertEquals(code, 0, err + out);
      assertStringIncludes(out, "SIMULATED: no figure below means anything");
      assertStringIncludes(out, `written: ${into} (SIMULATED)`);
      assertMatch(out, /localgrad graph +\d+/);
      assertMatch(out, /roofline .* ms: .* a step/);
      const listed = /(\d+) plans for/.exec(packed.out);
      assertEquals(cubins().length, Number(listed?.[1]), "a kernel was not packed, and compiled there");

      const python = await hasPyTorch();
      for (const name of ["first", "right", "speed", "more"]) {
        const { simulated, items } = await stage(into, name);
        assert(simulated && items.length > 0);
        for (const { name, failed, optional } of items) {
          if (!optional || python) assertEquals(failed, undefined, name);
        }
      }
      // A lent machine may send back no more than a few files of this size.
      const sizes = [...Deno.readDirSync(into)].map(({ name }) => Deno.statSync(`${into}/${name}`).size);
      assert(sizes.length <= 8 && Math.max(...sizes) <= 16 * 2 ** 20, `${sizes}`);
      const { items: [{ lines: [ours] }, { row, lines: [overlapping] }] } = await stage(into, "speed");
      assertStringIncludes(ours.device, "simulated device");
      assertEquals([row.mode, overlapping.losses], ["overlap", ours.losses]);
      assert(ours.launches > 50 && ours.roofline.bytes > 0 && ours.roofline.operations > 0);
      assertEquals(Object.keys(ours.classes).sort(), Object.keys(ours.roofline.classes).sort());

      // A stage that was cut off goes on: what it had is kept, and what is missing is run.
      const first = await stage(into, "first");
      const cut = { ...first, items: [first.items[0], { ...first.items[1], failed: "cut off" }] };
      await Deno.writeTextFile(`${into}/first.json`, JSON.stringify(cut));
      const again = await run("bash", [
        "bench/gpu.sh",
        "--dry-run",
        "--into",
        into,
        "--only",
        "product in f32",
      ], {
        cwd: copy,
        env,
      });
      assertEquals(again.code, 0, again.err + again.out);
      assertEquals(again.out.match(/^ok .*(?= \()/gm), ["ok a product in f32"]);
      const { items } = await stage(into, "first");
      assertEquals(items.map(({ name }: { name: string }) => name), ["it opens", "a product in f32"]);
      assertEquals(items[0].seconds, first.items[0].seconds);
    } finally {
      for (const folder of [copy, temporary]) await Deno.remove(folder, { recursive: true });
    }
    assertEquals(kept(), before);
  },
});

Deno.test({
  name: "bench/gpu.sh ends in time, says what is left, and keeps the results of what was cut off",
  ignore,
  fn: async () => {
    const into = await Deno.makeTempDir();
    try {
      const { code, out } = await run("bash", ["bench/gpu.sh", "--dry-run", "--budget", "5", "--into", into]);
      assertMatch(out, /\d+ done, \d+ failed, [1-9]\d* without time; go on with --from first --into /);
      assert(code === 0 || code === 1); // an item may have been cut off
      const { items } = await stage(into, "more");
      assertEquals(items.at(-1).failed, "no time is left");
    } finally {
      await Deno.remove(into, { recursive: true });
    }
  },
});

Deno.test({
  name: "bench/gpu.sh runs what failed again, waiting for every launch, to name the one at fault",
  ignore,
  fn: async () => {
    const into = await Deno.makeTempDir();
    try {
      const args = ["bench/gpu.sh", "--dry-run", "--only", "fused kernels", "--into", into];
      const { code, out } = await run("bash", args, { env: { LOCALGRAD_SIM_FAIL: "fault:2" } });
      assertEquals(code, 1, out);
      assertStringIncludes(out, "failed: fused kernels");
      const { items: [{ failed }] } = await stage(into, "first");
      const [first, again] = failed.split("again, waiting for every launch: ");
      assertStringIncludes(first, "--sync-launches");
      assertMatch(again, /running launch \d+ of /);
    } finally {
      await Deno.remove(into, { recursive: true });
    }
  },
});

Deno.test({
  name:
    "bench/gpu.sh never saves simulated figures among the results, however the simulated device was selected",
  ignore,
  fn: async () => {
    const before = kept();
    const args = ["run", "--quiet", "--no-check", "-P=gpu", "bench/gpu/run.ts"];
    const { code, err } = await run(Deno.execPath(), args, { env: environment });
    assertEquals([code, kept()], [2, before]);
    assertStringIncludes(err, "simulated figures are never kept in");
  },
});

Deno.test("bench/gpu.sh refuses unknown flags at once and prints its usage", async () => {
  const refused: readonly (readonly [readonly string[], string])[] = [
    [["--foo"], "there is no --foo"],
    [["--into"], "--into needs a value"],
    [["--budget", "soon"], '--budget must be a number of seconds above 0, not "soon"'],
    [["--from", "last"], 'there is no stage "last"; choose first, right, speed, more'],
    [["quick"], 'unexpected argument "quick"'],
  ];
  for (const [args, says] of refused) {
    const { code, out, err } = await run("bash", ["bench/gpu.sh", ...args]);
    assertEquals([code, out], [2, ""], args.join(" "));
    assertStringIncludes(err, `error: ${says}\nusage: bench/gpu.sh [--budget SECONDS]`);
  }
  const { code, out } = await run("bash", ["bench/gpu.sh", "--help"]);
  assertEquals(code, 0);
  assertMatch(out, /^usage: bench\/gpu\.sh/);
});

Deno.test("bench/gpu-pack.sh refuses unknown flags and files that are not there", async () => {
  for (
    const [args, says] of [
      [["--data"], "there is no --data"],
      [["--data-only"], "--data-only needs a FILE"],
      [["nothing.bin"], "there is no file nothing.bin"],
    ] as const
  ) {
    const { code, err } = await run("bash", ["bench/gpu-pack.sh", ...args]);
    assertEquals([code, err], [2, `gpu-pack.sh: ${says}\n`]);
  }
});
