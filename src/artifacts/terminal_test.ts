import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { canDraw } from "./terminal.ts";

Deno.test("canDraw() is true for terminals of some width that can redraw", () => {
  assert(canDraw(80, "xterm") && canDraw(80, undefined));
  for (const columns of [0, 1, 19, undefined]) assertEquals(canDraw(columns, "xterm"), false);
  assertEquals(canDraw(80, "dumb"), false);
});

/** The output of `progress` on a terminal of a kind and width. */
async function onTerminal(term: string, columns: number): Promise<string> {
  const module = new URL("progress.ts", import.meta.url).href;
  const program = `
    import { progress } from ${JSON.stringify(module)};
    const p = progress();
    p.start({ configuration: { batch: 1 }, imagesPerEpoch: 2, epochs: 1, stepsPerEpoch: 2 });
    await new Promise((resolve) => setTimeout(resolve, 120));
    p.step({ step: 1, epoch: 1, losses: [1], accuracy: 1, learningRate: 1, images: 1 });
    p.epoch({ epoch: 1, testError: 0.5, imagesPerSecond: 0 });
    p.end();`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(file, program);
  const config = fromFileUrl(new URL("../../deno.json", import.meta.url));
  const run =
    `stty cols ${columns}; '${Deno.execPath()}' run -q --no-check --config '${config}' --allow-env '${file}'`;
  const { stdout } = await new Deno.Command("script", {
    args: ["-qec", run, "/dev/null"],
    env: { TERM: term, NO_COLOR: "1" },
    stdin: "null",
  }).output();
  await Deno.remove(file);
  return new TextDecoder().decode(stdout);
}

Deno.test({
  name: "progress() draws on a terminal, and writes plain lines on one of 0 columns or TERM=dumb",
  ignore: Deno.build.os !== "linux" || !await has("script"),
  async fn() {
    assertStringIncludes(await onTerminal("xterm", 80), "\r\x1b[2Kepoch 1/1 █");
    for (const [term, columns] of [["dumb", 80], ["xterm", 0]] as const) {
      const text = await onTerminal(term, columns);
      assert(!text.includes("\x1b") && !/\r(?!\n)/.test(text), JSON.stringify(text));
      assertMatch(text, /^epoch 1\/1 {2}loss 1\.000/m);
    }
  },
});

async function has(program: string): Promise<boolean> {
  const there = new Deno.Command(program, { args: ["--version"], stdout: "null" }).output();
  return await there.then(({ success }) => success, () => false);
}
