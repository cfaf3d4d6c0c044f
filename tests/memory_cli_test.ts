import { assert, assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";
import library from "../deno.json" with { type: "json" };
import { keep } from "../src/cli/reproduce/kept_results.ts";
import { inFolder } from "./in_folder.ts";

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

Deno.test("the task memory may read every module that its planning threads load", async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", `${root}src/cli/memory/worker.ts`],
  }).output();
  const { modules } = JSON.parse(new TextDecoder().decode(stdout));
  const paths: string[] = modules.flatMap(({ local = "" }: { local?: string }) =>
    local.startsWith(root) ? [local.slice(root.length)] : []
  );
  assert(paths.length > 100, `${paths.length} modules`);
  const { read } = library.permissions.memory;
  assertEquals(paths.filter((path) => !read.includes(path.split("/", 1)[0] ?? "")), []);
});

Deno.test("memory plans steps that overlap, with the peak without", async () => {
  const flags = ["--model", "resnet8", "--modules", "3", "--batch", "32", "--device", "cuda"];
  const plans = await Promise.all([[], ["--overlap"]].map(async (more) => {
    const { stdout, stderr } = await memory(...flags, ...more, "--json");
    assertEquals(stderr, "");
    return JSON.parse(stdout).method;
  }));
  assertEquals(plans.map(({ peakInOrder }) => peakInOrder), [undefined, plans[0].peakBytes]);
  assert(plans[1].peakBytes > plans[0].peakBytes);
  const { stdout } = await memory(...flags, "--overlap", "--method", "endToEnd");
  assertMatch(stdout, /^peak without overlap +\d/m);
});

Deno.test("memory plans the classes of a folder that need not be there", async () => {
  const flags = [
    "--dataset",
    "folder",
    "--image-size",
    "32",
    "--method",
    "endToEnd",
    "--batch",
    "1",
    "--json",
  ];
  const [two, three] = await Promise.all(["2", "3"].map(async (classes) => {
    const { stdout, stderr } = await memory(...flags, "--classes", classes);
    assertEquals(stderr, "");
    return JSON.parse(stdout).endToEnd.breakdown.parameters;
  }));
  assertEquals(three - two, 4 * (64 + 1)); // a row of ResNet-8's classifier
});

Deno.test("memory rejects flags that exclude each other in one line", async () => {
  const cases: [RegExp, ...string[]][] = [
    [/--split needs a number of modules; give --modules too/, "--split", "balanced"],
    [/--overlap is for cuda; omit it for cpu/, "--overlap"],
    [
      /resnet8 has 3 blocks and can be cut into 1 to 3 modules, not 4/,
      "--modules",
      "4",
      "--split",
      "balanced",
    ],
    [/--json and --markdown/, "--json", "--markdown"],
    [/--plot is for --frontier/, "--plot", "plot.svg"],
    [/--into is for --frontier/, "--into", "a.md"],
    [
      /--memory-limit: 176\.02 MiB are reserved, which leaves nothing of 100\.00 MiB/,
      "--dataset",
      "cifar10",
      "--memory-limit",
      "100MiB",
    ],
    [
      /--depth is of one method; give --method too/,
      "--frontier",
      "--depth",
      "2",
    ],
    [
      /--table has its own networks and methods; omit --model/,
      "--table",
      "cifar",
      "--model",
      "resnet8",
    ],
    [/--table has its own .*; omit --processes/, "--processes", "2", "--table", "cifar"],
    [/--table has its own .*; omit --classes/, "--classes", "2", "--table", "cifar"],
    [/--classes is for --dataset folder; shapes has 10 classes/, "--classes", "2"],
    [/need at least .* MiB each/, "--processes", "2", "--memory-limit", "1MiB"],
    [/--table must be one of imagenet, cifar, transformers, segmentation, not "coco"/, "--table", "coco"],
  ];
  for (const [message, ...args] of cases) {
    const { code, stdout, stderr } = await memory(...args);
    assertEquals([code, stdout, stderr.trimEnd().split("\n").length], [2, "", 1], stderr);
    assertMatch(stderr, message);
  }
});

Deno.test("memory plans processes: their peaks, what they send, a predicted time", async () => {
  const two = ["--batch", "32", "--processes", "2", "--threads", "1"];
  const plan = async (...args: string[]) => {
    const { code, stdout, stderr } = await memory(...two, "--json", ...args);
    assertEquals(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const modules = await plan();
  const [first, second] = modules.processes;
  assertEquals([...first.modules, ...second.modules], ["layer1.0", "layer2.0", "layer3.0"]);
  assertEquals(first.sent, second.received);
  assert(first.sent.features > 0 && second.sent.blocks > 0 && first.sent.gradients === 0);
  assert(first.peakBytes < modules.alone.peakBytes && second.peakBytes < modules.alone.peakBytes);
  assert(modules.speedup > 1 && modules.speedup < 2);
  const slow = await plan("--parallel", "data", "--link-speed", "0.001", "--link-latency", "1000");
  assertEquals(slow.processes.length, 1);
  assertEquals([slow.processes[0].ranks, slow.processes[0].images], [2, 16]);
  assertEquals(slow.predictedWith.link, { bytes: 1e6, latency: 1e-3 });
  assert(slow.seconds > slow.processes[0].sent.gradients / 1e6);
  const limit = first.peakBytes + 2 ** 20;
  const within = await plan("--split", "balanced", "--memory-limit", `${limit}B`);
  for (const { peakBytes } of within.processes) assert(peakBytes <= limit);
  const { stdout } = await memory(...two, "--markdown");
  assertMatch(stdout, /^\| 1 \| 1(–2)? of 3 \| 32 \| .* MiB \| 0\.\d+ \|/m);
  assertMatch(stdout, /^predicted, not measured: .* links of 2 GB\/s each way and 20 µs$/ms);
});

Deno.test("memory:frontier measures speeds once, adds kept errors and draws", () =>
  inFolder(async (dir) => {
    await keep(`${dir}/results`, {
      ...{ row: "resnet20-endToEnd", seed: 0, timing: { secondsPerStep: 0.02, steps: 36, device: "cpu" } },
      settings: {
        model: "resnet20",
        modules: 1,
        method: "endToEnd",
        dataset: "cifar10",
        batch: 32,
        epochs: 10,
      },
      result: {
        ...{ finalError: 0.2851, bestError: 0.28, bestEpoch: 9, heldBytes: 3, modules: 1 },
        ...{ plannedPeakBytes: 1, endToEndPeakBytes: 1 },
        parameters: { backbone: 1, bias: 0, ema: 0, heads: 0 },
      },
    });
    const frontier = async (...args: string[]) => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-q", "--lock=deno.lock", "-P=frontier", "src/cli/main.ts", "memory", "--frontier"],
          ...["--model", "resnet20", "--dataset", "cifar10", "--batch", "32", "--method", "endToEnd"],
          ...["--threads", "1", "--results", `${dir}/results`, ...args],
        ],
        cwd: root,
        env: { NO_COLOR: "1", XDG_CACHE_HOME: dir },
        stdin: "null",
      }).output();
      const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      assertEquals(code, 0, text(stderr));
      return text(stdout);
    };
    const { rows, speeds, of } = JSON.parse(await frontier("--json", "--plot", `${dir}/plot.svg`));
    assertMatch(of, /^measured on 1 thread/);
    const [kept] = Array.from(Deno.readDirSync(`${dir}/localgrad/speeds`), ({ name }) => name);
    assertEquals(JSON.parse(await Deno.readTextFile(`${dir}/localgrad/speeds/${kept}`)), speeds);
    const known = rows.filter(({ error }: { error?: number }) => error !== undefined);
    for (const method of ["endToEnd", "endToEnd+checkpoint"]) {
      assert(
        known.some((row: { method: string; error: number }) => row.method === method && row.error === 0.2851),
      );
    }
    assertMatch(
      await Deno.readTextFile(`${dir}/plot.svg`),
      /^<svg.*test error.*resnet20, batch 32.*<\/svg>\s*$/s,
    );
    await Deno.writeTextFile(`${dir}/doc.md`, "<!-- frontier resnet20 --><!-- /frontier -->");
    const given = await frontier("--speeds", "1e9,1e9", "--into", `${dir}/doc.md`);
    assertMatch(given, /; times at 1 · 10⁹ operations and 1 · 10⁹ bytes a second, as given\n/);
    assertMatch(given, /^endToEnd, recomputing .* 28\.51 +1 +\*?\+?$/m);
    assertMatch(
      await Deno.readTextFile(`${dir}/doc.md`),
      /^<!-- frontier resnet20 -->\n\nThe marked rows .*\| endToEnd \| .* \| 20.0 ms \| 28.51 \|.*<!-- \/frontier -->$/s,
    );
  }));
