import { assert, assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";

const root = fromFileUrl(new URL("..", import.meta.url));

/** Runs `deno task memory` with no permission at all. */
async function memory(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--config", `${root}deno.json`, `${root}src/cli/main.ts`, "memory", ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

const small = ["--model", "resnet20", "--modules", "3", "--split", "balanced", "--batch", "32"];

Deno.test("memory plans balanced boundaries with recomputation, end to end and checkpoints, for every device", async () => {
  for (const device of ["cpu", "cuda"]) {
    const { code, stdout, stderr } = await memory(...small, "--recompute", "--json", "--device", device);
    assertEquals(code, 0, stderr);
    const { endToEnd, checkpointed, method } = JSON.parse(stdout);
    assertEquals(method.modules.length, 3);
    for (const { peakBytes, breakdown, recompute } of [endToEnd, checkpointed, method]) {
      const parts = Object.values(breakdown) as number[];
      assertEquals(parts.reduce((sum, bytes) => sum + bytes), peakBytes);
      assert(recompute.bytes > 0 && recompute.bytes < recompute.of.bytes / 2);
    }
    assert(checkpointed.peakBytes < endToEnd.peakBytes);
  }
  const { stdout } = await memory(...small, "--markdown");
  assertMatch(stdout, /^\| peak \| .* MiB \| .* MiB \| .* MiB \|$/m);
});

Deno.test("memory rejects flags that exclude each other in one line", async () => {
  const cases: [RegExp, ...string[]][] = [
    [/--split needs a number of modules; give --modules too/, "--split", "balanced"],
    [
      /resnet8 has 3 blocks and can be cut into 1 to 3 modules, not 4/,
      "--modules",
      "4",
      "--split",
      "balanced",
    ],
    [/--json and --markdown/, "--json", "--markdown"],
    [
      /--table has its own networks and methods; omit --model/,
      "--table",
      "cifar",
      "--model",
      "resnet8",
    ],
    [/--table must be one of imagenet, cifar, not "coco"/, "--table", "coco"],
  ];
  for (const [message, ...args] of cases) {
    const { code, stdout, stderr } = await memory(...args);
    assertEquals([code, stdout, stderr.trimEnd().split("\n").length], [2, "", 1], stderr);
    assertMatch(stderr, message);
  }
});
