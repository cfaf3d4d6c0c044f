/**
 * A row of each table, run by its command on every available device: interrupted and resumed, it ends like an
 * uninterrupted run. Takes minutes without a card, so it runs only if a folder with the real CIFAR-10 is named.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { openWebgpu } from "../src/backends/webgpu/backend.ts";
import { cli, finish, start } from "./command_line.ts";
import { type Files, photographs, stl10, svhn, write } from "./dataset_files.ts";
import { skips } from "./gate.ts";
import { inFolder } from "./in_folder.ts";
import { exists, lines, outcome, until } from "./reproduction_outcome.ts";

const cifar10 = Deno.env.get("LOCALGRAD_CIFAR10");
if (cifar10 === undefined) {
  console.error("SKIPPED: a row of each table. Name a folder with CIFAR-10 with LOCALGRAD_CIFAR10");
}

/** A row, its data, and the text that its line in the table must contain. */
interface Case {
  readonly table: string;
  readonly row: string;
  readonly files?: () => Files;
  readonly flags: readonly string[];
  readonly line: RegExp;
}

const tiny = ["--train-limit", "24", "--test-limit", "8", "--batch", "8", "--lr", "0.02"];
const CASES: readonly Case[] = [
  { table: "cifar10", row: "resnet32-k16-man+infopro", flags: tiny, line: /\| 15 \|.*\| 9\.65 MAN S \|/ },
  {
    table: "ablation",
    row: "resnet32-k16-man+dgl-bias-only",
    flags: tiny,
    line: /\| 15 \|.*\| 466,906 \| 461,120 \| 0 \|/,
  },
  { table: "evidence", row: "resnet20-endToEnd", flags: tiny, line: /\| 1 \|.*\| 272,474 \| 0 \| 0 \| 0 \|/ },
  {
    table: "svhn",
    row: "resnet32-k16-man+dgl",
    files: svhn,
    flags: ["--batch", "2", "--lr", "0.01"],
    line: /\| 15 \|.*\| 466,906 \| 461,120 \| 461,120 \|/,
  },
  {
    table: "stl10",
    row: "resnet32-k16-man+infopro",
    files: () => stl10(12, 4),
    flags: ["--batch", "4", "--lr", "0.01"],
    line: /\| 15 \|.*\| 466,906 \| 461,120 \| 461,120 \|/,
  },
  {
    table: "imagenet",
    row: "resnet101-k4-man+infopro",
    files: photographs,
    flags: ["--batch", "2", "--lr", "0.001"],
    line: /\| 4 \|.*\| 21\.73 .*MAN S \|/,
  },
];

const noWebgpu = await skips("webgpu", () => openWebgpu());

for (const device of ["cpu", "webgpu"]) {
  for (const { table, row, files, flags, line } of CASES) {
    Deno.test({
      name: `${row} of table ${table} on ${device}, stopped and resumed, ends like an uninterrupted run`,
      ignore: cifar10 === undefined || (device === "webgpu" && noWebgpu) || Deno.build.os === "windows",
      fn: () =>
        inFolder(async (dir) => {
          if (files !== undefined) await write(`${dir}/data`, files());
          const args = [
            ...["--table", table, "--rows", row, "--seeds", "1", "--epochs", "2", ...flags],
            ...["--data", files === undefined ? cifar10! : "data", "--device", device],
          ];
          const whole = await cli(dir, "reproduce", ...args, "--run", "whole");
          assertEquals(whole.code, 0, whole.stderr);
          const text = await Deno.readTextFile(`${dir}/whole/table.md`);
          assertEquals(whole.stdout.trim(), text.trim());
          assertMatch(text.split("\n").find((each) => each.startsWith(`| ${row} `)) ?? text, line);
          assertStringIncludes(await Deno.readTextFile(`${dir}/whole/table.html`), `<td>${row}</td>`);

          const stopped = start(dir, "reproduce", [...args, "--run", "parts"]);
          await until(async () => await lines(`${dir}/parts/${row}/seed0/metrics.jsonl`) > 0);
          stopped.kill("SIGINT");
          const { code, stderr } = await finish(stopped);
          assertEquals(code, 0, stderr);
          assert(!await exists(`${dir}/parts/${row}/seed0/result.json`), "stopped too late");
          const last = await cli(dir, "reproduce", ...args, "--run", "parts");
          assertEquals(last.code, 0, last.stderr);
          assertEquals(outcome(`${dir}/parts`), outcome(`${dir}/whole`));
        }),
    });
  }
}
