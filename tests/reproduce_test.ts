/** The commands `reproduce` and `probe`, on small files in the data sets' official layouts. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { openWebgpu } from "../src/backends/webgpu/backend.ts";
import { setupOf } from "../src/cli/build.ts";
import { unplanned } from "../src/cli/cut.ts";
import { tables } from "../src/cli/reproduce/tables.ts";
import { setup } from "../src/local.ts";
import { cli, finish, refused, start } from "./command_line.ts";
import { fixtures, stl10, write } from "./dataset_files.ts";
import { skips } from "./gate.ts";
import { inFolder } from "./in_folder.ts";
import { exists, lines, outcome, until } from "./reproduction_outcome.ts";

const SVHN = `${fixtures}/svhn`;
const tiny = (train: number, lr = 0.02) => [
  ...["--train-limit", String(train), "--test-limit", "8", "--batch", "8", "--lr", String(lr)],
];

Deno.test({
  name: "reproduce, killed and interrupted midway, ends like an uninterrupted run",
  ignore: Deno.build.os === "windows", // Windows cannot send SIGINT to a process
  fn: () =>
    inFolder(async (dir) => {
      const [first, second] = ["resnet32-k16-man+dgl", "resnet32-k16-man+infopro"];
      const flags = [
        ...["--table", "svhn", "--rows", `${first},${second}`, "--seeds", "1", "--epochs", "5"],
        ...["--batch", "2", "--lr", "0.01", "--data", SVHN, "--device", "cpu"],
      ];
      const whole = await cli(dir, "reproduce", ...flags, "--run", "whole", "--results", "kept");
      assertEquals(whole.code, 0, whole.stderr);
      const again = await cli(dir, "reproduce", ...flags, "--run", "again", "--results", "kept");
      assertEquals([again.code, again.stderr.match(/already done/g)?.length], [0, 2]);
      assert(!await exists(`${dir}/again/${first}`), "a row whose result is kept was run");
      const errorsIn = (text: string) =>
        [...text.matchAll(/\| 15 \| \d+\.\d\d \| \d+\.\d\d \|/g)].map(String);
      assertEquals([errorsIn(again.stdout).length, errorsIn(again.stdout)], [2, errorsIn(whole.stdout)]);

      const one = `${dir}/parts/${first}/seed0`;
      const killed = start(dir, "reproduce", [...flags, "--run", "parts"]);
      await until(async () =>
        await exists(`${one}/best.safetensors`) && await lines(`${one}/metrics.jsonl`) > 6
      );
      killed.kill("SIGKILL");
      await finish(killed);
      assert(!await exists(`${one}/result.json`), "killed too late");

      const two = `${dir}/parts/${second}/seed0`;
      const stopped = start(dir, "reproduce", [...flags, "--run", "parts"]);
      await until(async () => await lines(`${two}/metrics.jsonl`) > 1);
      stopped.kill("SIGINT");
      const { code, stderr } = await finish(stopped);
      assertEquals(code, 130, stderr);
      assertMatch(stderr, /stopped and saved; run the same command to resume/);
      assert(!await exists(`${two}/result.json`), "stopped too late");
      assertMatch(await Deno.readTextFile(`${dir}/parts/table.md`), /man\+infopro \| – \| not run yet/);

      const last = await cli(dir, "reproduce", ...flags, "--run", "parts");
      assertEquals(last.code, 0, last.stderr);
      assertEquals(outcome(`${dir}/parts`), outcome(`${dir}/whole`));

      const other = flags.with(flags.indexOf("0.01"), "0.03");
      await refused(dir, /started with --lr 0\.01, not 0\.03/, "reproduce", ...other, "--run", "parts");
      await Deno.writeTextFile(`${dir}/parts/reproduction.json`, "{");
      await refused(dir, /reproduction\.json is damaged/, "reproduce", ...flags, "--run", "parts");
    }),
});

/** The same, and expects every row to succeed. */
async function table(
  dir: string,
  name: string,
  rows: string,
  data: string,
  ...more: string[]
): Promise<string> {
  return await tableAndCode(dir, name, rows, data, 0, ...more);
}

/** Runs rows of a table for an epoch, and returns what was printed. */
async function tableAndCode(
  dir: string,
  name: string,
  rows: string,
  data: string,
  expected: number,
  ...more: string[]
): Promise<string> {
  const flags = ["--table", name, "--rows", rows, "--seeds", "1", "--epochs", "1", "--data", data, ...more];
  const { code, stderr, stdout } = await cli(dir, "reproduce", ...flags, "--run", name);
  assertEquals(code, expected, stderr);
  const text = await Deno.readTextFile(`${dir}/${name}/table.md`);
  assertEquals(stdout.trim(), text.trim());
  for (const row of rows.split(",")) {
    assertStringIncludes(await Deno.readTextFile(`${dir}/${name}/table.html`), `<td>${row}</td>`);
  }
  return text;
}

const ROW = /\| resnet32-k16-man\+\w+ \| 15 \| \d+\.\d\d \|.*\| 466,906 \| 461,120 \| 461,120 \|/;

Deno.test("reproduce lists the differences of a run from the paper's", () =>
  inFolder(async (dir) => {
    await write(`${dir}/data`, stl10(24, 8));
    const text = await table(dir, "stl10", "resnet32-k16-man+dgl", "data", ...tiny(16), "--device", "cpu");
    assertStringIncludes(text, "epochs: 1 instead of 400");
    assertStringIncludes(text, "trained on the first 16 images only");
    assertMatch(text, ROW);
  }));

Deno.test("reproduce continues after a row that diverges, and its exit code shows it", () =>
  inFolder(async (dir) => {
    const rows = "resnet32-k16-man+dgl,resnet32-k16-man+infopro";
    const flags = ["--batch", "4", "--lr", "1e30", "--device", "cpu"];
    const text = await tableAndCode(dir, "svhn", rows, SVHN, 3, ...flags);
    for (const row of rows.split(",")) {
      assertStringIncludes(text, `- ${row}, seed 0: fit: the loss of module `);
      assertStringIncludes(text, `| ${row} | – | failed, see below |`);
    }
  }));

if (!await skips("webgpu", () => openWebgpu())) {
  Deno.test("reproduce runs on webgpu", () =>
    inFolder(async (dir) => {
      const options = ["--batch", "4", "--lr", "0.01", "--device", "webgpu"];
      assertMatch(await table(dir, "svhn", "resnet32-k16-man+dgl", SVHN, ...options), ROW);
    }));
}

Deno.test("probe compares runs: a table, JSON and a plot", () =>
  inFolder(async (dir) => {
    const small = [
      "--train-limit",
      "64",
      "--test-limit",
      "32",
      "--batch",
      "16",
      "--epochs",
      "1",
      "--modules",
      "3",
    ];
    for (const method of ["greedy", "endToEnd"]) {
      const trained = await cli(dir, "train", ...small, "--method", method, "--run", method, "--lr", "0.05");
      assertEquals(trained.code, 0, trained.stderr);
    }
    const { code, stdout, stderr } = await cli(
      ...[
        dir,
        "probe",
        "--run",
        "greedy,endToEnd",
        "--modules",
        "3",
        "--epochs",
        "30",
        "--out",
        "out",
      ] as const,
    );
    assertEquals(code, 0, stderr);
    assertMatch(stdout, /greedy: the network's own test accuracy is [\d.]+ %\n.*\n.*\n1 layer1\.0 +16 /);
    const { runs } = JSON.parse(await Deno.readTextFile(`${dir}/out/probe.json`));
    assertEquals(runs.map(({ probes }: { probes: unknown[] }) => probes.length), [3, 3]);
    const svg = await Deno.readTextFile(`${dir}/out/probe.svg`);
    assertMatch(svg, /^<svg .*<\/svg>$/s);
    assertStringIncludes(svg, "endToEnd, resnet8 (endToEnd)");
    await refused(dir, /probe needs the folders of runs/, "probe");
    await refused(dir, /probe needs the folders of runs/, "probe", "--run", ",");
    await Deno.writeTextFile(`${dir}/file`, "");
    await refused(dir, /file\/out is not a folder/, "probe", "--run", "greedy", "--out", "file/out");
    await refused(dir, /there is nothing at none; give the folder of a run/, "probe", "--run", "greedy,none");
    await refused(dir, /resnet8 has 3 blocks.*at most 3/, "probe", "--run", "greedy", "--modules", "4");
  }));

Deno.test("reproduce lists rows, and refuses bad input in one line", () =>
  inFolder(async (dir) => {
    const listed = await cli(dir, "reproduce", "--table", "ablation", "--list");
    assertEquals([listed.code, listed.stderr], [0, ""]);
    assertMatch(
      listed.stdout,
      /resnet32-k16-man\+dgl-ema-only +11\.07 MAN S\nresnet32-k16-man\+dgl-bias-only +–/,
    );
    await Deno.mkdir(`${dir}/used`);
    await Deno.writeTextFile(`${dir}/used/notes.txt`, "");
    const svhn = ["--table", "svhn", "--data", SVHN] as const;
    const cases: [RegExp, ...string[]][] = [
      [/reproduce needs a table: --table cifar10\|svhn/, "--run", "a"],
      [/--table must be one of cifar10.*, not "mnist"/, "--table", "mnist", "--run", "a"],
      [/no row "resnet9-\*"; --list prints/, ...svhn, "--run", "a", "--rows", "resnet110-endToEnd,resnet9-*"],
      [/reproduce needs a folder/, ...svhn],
      [/--seeds must be a whole number of at least 1, not "0"/, ...svhn, "--run", "a", "--seeds", "0"],
      [/--epochs must be/, ...svhn, "--run", "a", "--epochs", "x"],
      [/nowhere does not exist/, "--table", "stl10", "--data", "nowhere", "--run", "a"],
      [/used contains other files, such as notes\.txt/, ...svhn, "--run", "used"],
      [/notes\.txt is not a folder/, ...svhn, "--run", "used/notes.txt"],
    ];
    for (const [message, ...args] of cases) {
      await refused(dir, message, "reproduce", "--device", "cpu", ...args);
    }
  }));

Deno.test("every row of every table can be set up, with the papers' number of modules", () => {
  for (const { dataset, rows } of Object.values(tables)) {
    assertEquals(new Set(rows.map(({ name }) => name)).size, rows.length);
    for (const { name, options, ...row } of rows) {
      const network = { ...row, dataset, ...(options === undefined ? {} : { methodOptions: options }) };
      const wanted = setupOf(network);
      const { partition, modules, method } = setup({ ...wanted, modules: unplanned(wanted.modules) });
      const after = /-after([\d+]+)-/.exec(name)?.[1];
      const k = after !== undefined
        ? after.split("+").length + 1
        : Number(/-(?:k|balanced)(\d+)-/.exec(name)?.[1] ?? 1);
      assertEquals(partition.requested, k, name);
      // The papers count the stem of the finest cuts as a module.
      const stem = name.startsWith("resnet32-k16") || name.startsWith("resnet110-k55") ? 1 : 0;
      // AugLocal and `joint` train the last blocks together, and MAN++ the stem separately.
      if (!/augLocal|manPlusPlus|joint/.test(name)) assertEquals(modules.length, k - stem, name);
      assert(name.includes(method.name.replace("+checkpoint", "")), name);
    }
  }
});
