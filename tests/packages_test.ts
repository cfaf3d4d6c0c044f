/** The packages that commands fetch before they run, counted with an empty cache and no network. */

import { assertEquals } from "@std/assert";
import { root } from "./serve.ts";

/** The only package that these commands use: it parses arguments. */
const USED = ["deno-std"];

/** Makes a cache that holds only those packages. */
async function lend(cache: string): Promise<void> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { npmCache } = JSON.parse(new TextDecoder().decode(stdout));
  for (const { name: registry } of Deno.readDirSync(npmCache)) {
    await Deno.mkdir(`${cache}/npm/${registry}`, { recursive: true });
    for (const name of USED) {
      // A copy: Deno does not load packages through a link.
      const from = `${npmCache}/${registry}/${name}`;
      await new Deno.Command("cp", { args: ["-R", from, `${cache}/npm/${registry}`] }).output();
    }
  }
}

Deno.test("demo, train, memory and doctor fetch no package that they do not use", async () => {
  const cache = await Deno.makeTempDir();
  try {
    await lend(cache);
    const commands = [
      ["demo", "--help"],
      ["train", "--help"],
      ["memory", "--model", "resnet8", "--batch", "4"],
      ["doctor", "--help"],
    ];
    for (const command of commands) {
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["task", ...command],
        cwd: root,
        env: {
          DENO_DIR: cache,
          HTTP_PROXY: "http://127.0.0.1:9", // discard: fetching anything fails
          HTTPS_PROXY: "http://127.0.0.1:9",
          NO_PROXY: "",
          DENO_NO_UPDATE_CHECK: "1",
          NO_COLOR: "1",
        },
      }).output();
      const [task = "", ...rest] = new TextDecoder().decode(stderr).trim().split("\n");
      assertEquals([code, rest.filter((line) => /Download|error/.test(line))], [0, []], `${task}\n${rest}`);
    }
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
});
