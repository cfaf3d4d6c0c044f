import { assert, assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { openWebgpu } from "../src/backends/webgpu/backend.ts";
import { loadWeights, readMetrics } from "../src/train.ts";
import { skips } from "./gate.ts";

const root = fromFileUrl(new URL("..", import.meta.url));
const withoutWebgpu = await skips("examples on webgpu", openWebgpu);

/** Runs an example in a folder with the permissions that its first comment names, and returns its output. */
async function example(name: string, args: readonly string[], cwd = root): Promise<string> {
  const { code, said, complained } = await tried(name, args, cwd);
  assertEquals(code, 0, complained);
  return said;
}

async function tried(name: string, args: readonly string[], cwd = root) {
  const path = `${root}examples/${name}`;
  const permissions = Deno.readTextFileSync(path).match(/deno run ((?:--allow-\S+ )*)examples/g)!.at(-1)!
    .split(" ").filter((word) => word.startsWith("--allow-"));
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-prompt", ...permissions, path, ...args],
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  return { code, said: text.decode(stdout), complained: text.decode(stderr) };
}

const numbers = (line: string) => [...line.matchAll(/\d+\.\d{4}/g)].map(([number]) => Number(number));

Deno.test("examples/cifar10_man.ts trains in 16 modules, saves the run, and resumes it", async () => {
  const cwd = await Deno.makeTempDir();
  try {
    const settings = ["--data", "shapes", "--train-limit", "64", "--batch", "16", "--device", "cpu"];
    const first = await example("cifar10_man.ts", [...settings, "--epochs", "1", "--run", "runs/a"], cwd);
    assertMatch(first, /planned peak of a step: \d+ MiB, end to end \d+ MiB/);
    assertMatch(first, /test error \d+\.\d\d %; see runs\/a\/report\.html/);
    await example("cifar10_man.ts", [...settings, "--epochs", "2", "--run", "runs/a"], cwd);
    const lines = await readMetrics(`${cwd}/runs/a/metrics.jsonl`);
    const steps = lines.filter((line) => line.kind === "step");
    assertEquals(steps.map((line) => line.step), [1, 2, 3, 4, 5, 6, 7, 8]);
    const [start, end] = [steps[0].losses, steps[7].losses];
    // Toward the end of the network InfoPro's task term dominates, which eight steps may not improve.
    const sum = (losses: readonly number[]) => losses.slice(0, -1).reduce((sum, loss) => sum + loss);
    assert(sum(end) < 0.9 * sum(start), `${start} → ${end}`);
    assert(end.slice(0, 10).every((loss, module) => loss < start[module]), `${start} → ${end}`);
    assert(Deno.statSync(`${cwd}/runs/a/report.html`).size > 0);
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});

for (const device of ["cpu", "webgpu"]) {
  const ignore = device === "webgpu" && withoutWebgpu;
  Deno.test(`examples/own_step.ts learns on ${device}`, { ignore }, async () => {
    const printed = await example("own_step.ts", ["--device", device, "--steps", "61", "--batch", "32"]);
    const losses = numbers(printed);
    assertEquals(losses.length, 4, printed);
    assert(losses.slice(1).every((loss) => loss < 0.8 * losses[0]), printed);
  });
}

Deno.test("examples/segmentation.ts labels pixels, and resumes its run", async () => {
  const cwd = await Deno.makeTempDir();
  try {
    const settings = ["--device", "cpu", "--images", "64", "--size", "24", "--batch", "8"];
    const first = await example("segmentation.ts", [...settings, "--epochs", "1"], cwd);
    assertMatch(first, /mean IoU \d+\.\d\d %, of the background alone \d+\.\d\d %; pixels \d+\.\d\d %, /);
    const second = await example("segmentation.ts", [...settings, "--epochs", "2"], cwd);
    assertMatch(second, /%, -?\d+\.\d standard errors/); // also where all is called background
    const lines = await readMetrics(`${cwd}/runs/segmentation/metrics.jsonl`);
    const epochs = lines.filter((line) => line.kind === "epoch");
    assertEquals(epochs.map(({ epoch }) => epoch), [1, 2]);
    assert(epochs.every(({ meanIoU = 0 }) => meanIoU > 0 && meanIoU <= 1));
    const steps = lines.filter((line) => line.kind === "step");
    assert(steps.at(-1)!.losses.every((loss, module) => loss < steps[0].losses[module]));
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});

for (const flags of [[], ["--man"]]) {
  Deno.test(`examples/own_method.ts learns ${flags.join()}`.trimEnd(), async () => {
    const settings = ["--device", "cpu", "--images", "256", "--epochs", "2", ...flags];
    const epochs = (await example("own_method.ts", settings)).split("\n").filter((l) =>
      l.startsWith("epoch")
    );
    const [first, second] = epochs.map(numbers);
    assertEquals([epochs.length, first.length, second.length], [2, 3, 3]);
    assert(second.every((loss, module) => loss < first[module]), epochs.join("\n"));
  });
}

Deno.test("examples/own_network.ts trains, exports and predicts with a network of one's own", async () => {
  const cwd = await Deno.makeTempDir();
  try {
    const printed = await example(
      "own_network.ts",
      ["--device", "cpu", "--images", "64", "--epochs", "1"],
      cwd,
    );
    assertMatch(printed, /^test error \d+\.\d %; the first test image: [a-z]+$/m);
    const { network, tensors } = await loadWeights(`${cwd}/own.safetensors`);
    assertEquals(network, { model: "own", classes: 10, task: "classification" });
    assertEquals(tensors.get("features.1.scale.weight")?.shape, [32]);
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});

Deno.test("examples/regression.ts learns from arrays and from a stream", async () => {
  const printed = await example("regression.ts", ["--device", "cpu", "--epochs", "8"]);
  const errors = numbers(printed.replaceAll(/^.*, epoch .*$/gm, ""));
  assertEquals(errors.length, 2, printed);
  assert(errors.every((error) => error < 0.2), printed);
});

Deno.test("examples/language_model.ts writes a text that it has learnt by local modules", async () => {
  const cwd = await Deno.makeTempDir();
  try {
    const letters = Array.from({ length: 900 }, (_, i) => "pqrstuvw"[(i * i * 7 + i) % 29 % 8]);
    const words = letters.map((letter) => `${letter}ooo${letter} `);
    await Deno.mkdir(`${cwd}/text`);
    await Deno.writeTextFile(`${cwd}/text/a.md`, words.join(""));
    const size = ["--text", "text", "--length", "12", "--width", "16", "--blocks", "2", "--epochs", "2"];
    const args = [...size, "--methods", "greedy", "--device", "cpu"];
    const printed = await example("language_model.ts", args, cwd);
    const [bigram = NaN, ...rest] = numbers(printed.replaceAll(/^.*, step .*$/gm, ""));
    assertEquals(rest.length, 1, printed);
    assert(rest.every((bits) => bits < bigram), printed);
    assertMatch(printed, /^greedy writes: ".*ooo.*"$/m);
    assertEquals(numbers(await example("language_model.ts", args, cwd)), [bigram, ...rest]); // finished before
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});

Deno.test("examples/memory_limit.ts lists what fits, as planned", async () => {
  const printed = await example("memory_limit.ts", ["--model", "resnet8", "--batch", "64", "--limit", "40"]);
  const rows = [...printed.matchAll(/^(.+?) +(\d+) MiB {2}(fits|too large)$/gm)];
  assertEquals(rows.map(([, name]) => name), [
    "end to end",
    "end to end, checkpointed",
    "MAN in 2 modules",
    "MAN in 3 modules",
  ]);
  for (const [, , mebibytes, fits] of rows) {
    assertEquals(fits, Number(mebibytes) <= 40 ? "fits" : "too large");
  }
  const first = rows.find(([, , , fits]) => fits === "fits")?.[1];
  assert(first !== undefined && first !== "end to end", printed);
  assertMatch(printed, new RegExp(`^the first that fits into 40 MiB: ${first}`, "m"));
});

Deno.test("every example that takes flags refuses others, and names its own", async () => {
  const names = [...Deno.readDirSync(`${root}examples`)].map(({ name }) => name).filter((name) =>
    name.endsWith(".ts") && Deno.readTextFileSync(`${root}examples/${name}`).includes("Deno.args")
  );
  assertEquals(names.length, 9, names.join());
  const tries = [...names.map((name) => [name, "--colour", "there is no --colour; choose among --"]), [
    "memory_limit.ts",
    "--limit=abc",
    "--limit must be a number of MiB, not abc",
  ]];
  await Promise.all(tries.map(async ([name = "", flag = "", fault = ""]) => {
    const { code, complained } = await tried(name, [flag]);
    const lines = complained.split("\n").filter((line) => !line.includes("XDG_RUNTIME_DIR"));
    assertEquals([code, lines[0]?.startsWith(fault), lines.length], [2, true, 2], `${name}: ${complained}`);
  }));
});
