/** The commands `compare` and `report`. */

import { assertEquals, assertMatch } from "@std/assert";
import { inFolder } from "./in_folder.ts";
import { cli, refused } from "./command_line.ts";

const SMALL = ["--dataset", "shapes", "--train-limit", "32", "--model", "resnet8", "--batch", "32"] as const;

Deno.test("compare puts runs side by side and goes on after a foreign folder; report makes a page again", () =>
  inFolder(async (dir) => {
    const trained = await cli(dir, "train", ...SMALL, "--epochs", "1", "--lr", "0.1", "--run", "runs/a");
    assertEquals(trained.code, 0, trained.stderr);
    await Deno.mkdir(`${dir}/other/a`, { recursive: true });
    for (const name of ["run.json", "metrics.jsonl"]) {
      const text = await Deno.readTextFile(`${dir}/runs/a/${name}`);
      await Deno.writeTextFile(`${dir}/other/a/${name}`, text.replace('"lr":0.1', '"lr":0.2'));
    }
    await Deno.mkdir(`${dir}/foreign`);
    const compared = await cli(dir, "compare", "runs/a", "foreign", "other/a", "runs/a/", "--out", "c.html");
    assertEquals(compared.code, 2);
    assertEquals(compared.stderr.trim().split("\n").length, 1);
    assertMatch(compared.stderr, /^error: foreign has no run\.json/);
    const lines = compared.stdout.split("\n");
    assertEquals(lines.filter((line) => /^(runs|other)\/a /.test(line)).length, 4); // in two tables, and named by path
    assertMatch(compared.stdout, /\nrun +lr\n/);
    assertMatch(await Deno.readTextFile(`${dir}/c.html`), /2 runs compared/);
    const { code, stdout } = await cli(dir, "compare", "runs/a", "other/a", "--json");
    const { differences, runs } = JSON.parse(stdout);
    assertEquals([code, differences], [0, { lr: ["0.1", "0.2"] }]);
    assertEquals(runs.map(({ epochsDone }: { epochsDone: number }) => epochsDone), [1, 1]);

    // A run of a script has no settings of the command line, but a data set and a rate all the same.
    const record = JSON.parse(await Deno.readTextFile(`${dir}/other/a/run.json`));
    await Deno.writeTextFile(`${dir}/other/a/run.json`, JSON.stringify({ ...record, settings: {} }));
    const script = JSON.parse((await cli(dir, "compare", "runs/a", "other/a", "--json")).stdout);
    assertEquals(script.differences.dataset, undefined); // the same
    assertEquals(script.differences.lr, ["0.1", "0.05"]); // its one step is in the middle of the cosine

    const page = `${dir}/runs/a/report.html`;
    const written = await Deno.readTextFile(page);
    await Deno.remove(page);
    assertEquals((await cli(dir, "report", "runs/a")).code, 0);
    assertEquals(await Deno.readTextFile(page), written);

    await refused(dir, /compare needs runs: give their folders/, "compare");
    await refused(dir, /report needs the folder of a run/, "report");
    await refused(dir, /report writes the page of one run/, "report", "runs/a", "other/a");
  }));
