import { assert, assertEquals } from "@std/assert";
import { root } from "./serve.ts";

Deno.test("the package can be published, and contains every imported file but no tests or benchmarks", async () => {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["publish", "--dry-run", "--allow-dirty"],
    cwd: root,
    env: { NO_COLOR: "1" },
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stderr);
  assert(success, text);
  const files = [...text.matchAll(/file:\/\/(\S+) \(/g)].map((match) => match[1].slice(root.length));
  const others = files.filter((file) => !/^(src|ffi|kernels)\//.test(file)).toSorted();
  assertEquals(others, ["CHANGELOG.md", "LICENSE", "README.md", "deno.json", "mod.ts"]);
  assertEquals(files.filter((file) => file.endsWith("_test.ts")), []);
});
