/** Plans for a CPU with oneDNN, without a device: the target, and `deno task memory`. */
import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { LocalgradError } from "../../src/base/errors.ts";
import { compile } from "../../src/compile/compile.ts";
import { printPlan } from "../../src/compile/print.ts";
import { balanced, dgl, endToEnd, setup, stepPlan } from "../../src/local.ts";
import { resnet8 } from "../../src/models.ts";
import { sgd } from "../../src/optim.ts";
import { open, target } from "../../src/runtime/devices.ts";
import { opCase } from "../ops/check.ts";
import { f32 } from "../ops/random.ts";
import { library, skipped } from "./library.ts";

const model = resnet8({ classes: 10 });
const run = setup({ model, method: endToEnd(), optimizer: sgd() });

Deno.test("a target of oneDNN plans what a device with it plans", { ignore: skipped }, async () => {
  for (const threads of [1, 3]) {
    await using device = await open("cpu", { engine: "onednn", threads });
    using planned = await target("cpu", { engine: "onednn", threads });
    const [own, other] = [stepPlan(run, 16, device.backend.target), stepPlan(run, 16, planned)];
    assertEquals([printPlan(other), other.memory], [printPlan(own), own.memory]);
    using webAssembly = await target("cpu", { threads });
    assertNotEquals(
      stepPlan(run, 16, webAssembly).memory.breakdown.workspace,
      own.memory.breakdown.workspace,
    );
  }
});

Deno.test(
  "partial gradients of filters that oneDNN pads are within 12 MiB",
  { ignore: skipped },
  async () => {
    using planned = await target("cpu", { engine: "onednn" });
    const attrs = { strides: [1, 1], padding: [[3, 3], [3, 3]], dilation: [1, 1], groups: 1 } as const;
    const filterShape = [2, 7, 7, 256]; // two channels become sixteen
    const { program } = opCase(
      "convFilterGrad",
      [f32(64, 32, 32, 256), f32(64, 32, 32, 2)],
      { ...attrs, filterShape },
      [],
    );
    const { arenaBytes } = compile(program, planned);
    assert(arenaBytes > 2 ** 20 && arenaBytes < 12 * 2 ** 20, `${arenaBytes} bytes`);
  },
);

Deno.test("a target of oneDNN that was disposed of refuses to plan", { ignore: skipped }, async () => {
  const planned = await target("cpu", { engine: "onednn" });
  planned[Symbol.dispose]();
  planned[Symbol.dispose]();
  assertThrows(() => stepPlan(run, 16, planned), LocalgradError, "this target has been disposed of");
});

Deno.test("balanced boundaries are planned anew for the other engine", { ignore: skipped }, async () => {
  using webAssembly = await target("cpu");
  using onednn = await target("cpu", { engine: "onednn" });
  const options = { model, modules: 2, method: dgl(), optimizer: sgd(), batch: 16 };
  let asked = 0;
  const workspace: typeof onednn.workspace = (step, values) => {
    asked++;
    return onednn.workspace(step, values);
  };
  balanced({ ...options, target: webAssembly });
  balanced({ ...options, target: { ...onednn, workspace } });
  assertNotEquals(asked, 0);
});

Deno.test("targets refuse options in one line", async () => {
  const threads = await assertRejects(() => target("cpu", { threads: 0 }), LocalgradError, "threads");
  assertEquals(threads.message.split("\n").length, 1);
});

const main = new URL("../../src/cli/main.ts", import.meta.url).pathname;

/** The peak that `deno task memory` plans, and what it says on stderr. */
async function memory(flags: readonly string[], ...args: string[]) {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-prompt", ...flags, main, "memory", ...args, "--batch", "16", "--json"],
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  const { device, method } = JSON.parse(text(stdout));
  return { device, peak: method.peakBytes, said: text(stderr) };
}

Deno.test("memory --device cpu-onednn plans for WebAssembly where it may not ask oneDNN, and says so", async () => {
  const without = await memory([], "--device", "cpu", "--threads", "5");
  assertEquals(without.device, { name: "cpu", engine: "WebAssembly", threads: 5 });
  const refused = await memory([], "--device", "cpu-onednn", "--threads", "5");
  assertMatch(refused.said, /^planned for WebAssembly instead: .*: run deno task memory:onednn$/);
  assertEquals({ ...refused, said: "" }, without);
});

Deno.test("memory --device cpu-onednn plans with oneDNN where it may", { ignore: skipped }, async () => {
  const permitted = ["--allow-ffi", "--allow-env", "--allow-read"];
  const with3 = await memory(permitted, "--device", "cpu-onednn", "--threads", "3", "--method", "endToEnd");
  const { version, instructions } = library.report;
  assertEquals(with3.device, { name: "cpu", engine: `oneDNN ${version} (${instructions})`, threads: 3 });
  using planned = await target("cpu", { engine: "onednn", threads: 3 });
  const published = sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 });
  const same = setup({ model, method: endToEnd(), optimizer: published });
  assertEquals([with3.peak, with3.said], [stepPlan(same, 16, planned).memory.peakBytes, ""]);
});
