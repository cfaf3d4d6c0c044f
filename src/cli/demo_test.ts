import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { errorOf as errorFormat } from "../artifacts/format.ts";
import { dgl, man, memory } from "../local.ts";
import { devices, models, optim } from "../../mod.ts";
import { setupOf } from "./build.ts";
import {
  demoTable,
  errorOf,
  meaning,
  MEASURED,
  MISLABELLED,
  PLAN,
  ROWS,
  settingsOf,
  SHARED,
} from "./demo_table.ts";
import { parseFlags } from "./flags/flags.ts";
import { memoryFlags } from "./memory/memory.ts";

const [END, CHECKPOINTED, LOCAL] = ROWS.map(({ name }) => name);
const README = await Deno.readTextFile(new URL("../../README.md", import.meta.url));
const target = await devices.target("cpu", { threads: 2 });
const planned = (settings: Parameters<typeof setupOf>[0]) =>
  memory({ ...setupOf(settings), batch: SHARED.batch, target });

Deno.test("the demo's local row plans at most half of end to end's peak; the stored figures are the plan's", () => {
  const shares = ROWS.map((row) => {
    const { method, endToEnd } = planned(settingsOf(row, 0));
    const stored = MEASURED.filter(({ name }) => name === row.name);
    for (const { peakBytes, endToEndBytes } of stored) {
      assertEquals([peakBytes, endToEndBytes], [method.peakBytes, endToEnd.peakBytes], row.name);
    }
    return method.peakBytes / endToEnd.peakBytes;
  });
  const [end = 0, checkpointed = 0, local = 1] = shares;
  assertEquals(end, 1);
  assert(local <= 0.5, `${local}`);
  assert(local < checkpointed && checkpointed < end, `${shares}`);
});

Deno.test("the shares that the lines, README and the first hour give for man+dgl are those of balanced modules", () => {
  const share = (model: models.Model) => {
    const options = { model, modules: { balanced: 3 }, method: man(dgl()), batch: SHARED.batch, target };
    const { method, endToEnd } = memory({ ...options, optimizer: optim.sgd({ momentum: 0.9 }) });
    return `${Math.round(100 * method.peakBytes / endToEnd.peakBytes)} %`;
  };
  const shares = [share(models.resnet8()), share(models.resnet20())];
  const guide = Deno.readTextFileSync(new URL("../../docs/first-hour.md", import.meta.url));
  for (
    const text of [README, guide, meaning(MEASURED).join(" ")].map((text) => text.replaceAll(/\s+/g, " "))
  ) {
    for (const each of shares) assert(text.includes(each), `${each} is not in: ${text.slice(0, 80)}`);
    assertMatch(text, /three balanced modules/);
  }
});

Deno.test("the demo's local row is within three points of end to end, the mean of three seeds", () => {
  const of = (name = "") => MEASURED.filter((each) => each.name === name);
  assertEquals(of(END).map(({ seed }) => seed), [0, 1, 2]);
  assertEquals(of(LOCAL).map(({ seed }) => seed), [0, 1, 2]);
  const [end, local] = [END, LOCAL].map((name = "") => errorOf(name, MEASURED)?.mean ?? NaN);
  assert(end !== undefined && local !== undefined);
  assert(end >= 0.05, `${end}`);
  assert(local - end <= 0.03, `${local} and ${end}`);
  const steps = (row: typeof ROWS[number]) => settingsOf(row, 0).scheduleEpochs;
  assertEquals(new Set(ROWS.map(steps)).size, 1); // equal steps
});

Deno.test("the demo's table has a row for each method, and its lines say when which pays", () => {
  const { heads, rows } = demoTable(MEASURED);
  assertEquals(rows.map(([name]) => name), [END, CHECKPOINTED, LOCAL]);
  assert(rows.every((row) => row.length === heads.length && !row.join().includes("NaN")));
  assertEquals(rows[1]?.slice(2, 4), rows[0]?.slice(2, 4)); // the same bits
  assertEquals(demoTable([]).rows, []);
  assertEquals(meaning([]), []);

  const [local = "", labels = "", checkpointed = "", pays = "", man = "", plan = ""] = meaning(MEASURED);
  assertEquals(local.includes(`${rows[2]?.[5]} of end to end's peak`), true, local);
  assert(
    labels.startsWith(`Of the labels, ${(100 * MISLABELLED).toFixed(1)} % are wrong on purpose`),
    labels,
  );
  assert(labels.includes("With SGD"), labels);
  assertEquals(checkpointed.includes(`${rows[1]?.[5]} and computes the same bits`), true, checkpointed);
  assert(pays.includes("deep networks, large batches"), pays);
  assert(plan.endsWith(PLAN), plan);
  const manIn = (model: "resnet8" | "resnet20") => {
    const { method, endToEnd } = planned({
      ...{ dataset: "shapes", model, method: "man+dgl", modules: { balanced: 3 } },
      optimizer: SHARED.optimizer,
    });
    return `${(100 * method.peakBytes / endToEnd.peakBytes).toFixed(0)} %`;
  };
  assert(man.includes(`${manIn("resnet8")} of end to end's peak for ResNet-8`), `${man} ${manIn("resnet8")}`);
  assert(man.includes(`${manIn("resnet20")} for ResNet-20`), `${man} ${manIn("resnet20")}`);
});

Deno.test("the demo's errors have two decimals everywhere: in its table, its lines, the README and the report", () => {
  const { rows } = demoTable(MEASURED);
  for (const [name, , mean = "", spread = "", peak, share] of rows) {
    assertMatch(mean, /^\d+\.\d\d %$/);
    assertEquals(spread.split(" ± ")[0], mean.slice(0, -2), name);
    const inReadme = README.split("\n").find((line) => line.startsWith(`| ${name} `))?.split("|")
      .map((cell) => cell.trim());
    assertEquals(inReadme?.slice(2, 5), [name === CHECKPOINTED ? "the same" : spread, peak, share], name);
  }
  assertMatch(meaning(MEASURED)[0] ?? "", /the error is \d+\.\d\d points higher/);
  assertEquals(errorFormat({}).format(0.072), "7.20 %"); // the report's
});

Deno.test("the command that the demo prints plans its local row", () => {
  const given = parseFlags("memory", memoryFlags, PLAN.split(" ").slice(3));
  const { modules, split, batch, method, model, optimizer } = given;
  assertEquals(
    { modules: { [split ?? ""]: Number(modules) }, batch: Number(batch), method, model, optimizer },
    {
      ...{ modules: { balanced: 3 }, batch: SHARED.batch, method: "dgl", model: SHARED.model },
      optimizer: SHARED.optimizer.name,
    },
  );
});

Deno.test("the spread of the demo's errors is that of a sample", () => {
  const result = { name: END ?? "", modules: 1, peakBytes: 1, endToEndBytes: 1, seconds: 1 };
  const errors = [0.05, 0.06, 0.08].map((error, seed) => ({ ...result, seed, error }));
  const { mean, deviation } = errorOf(CHECKPOINTED ?? "", errors) ?? { mean: NaN, deviation: NaN };
  assertAlmostEquals(mean, 0.19 / 3, 1e-12);
  assertAlmostEquals(deviation, 0.015275252316519468, 1e-12);
});
