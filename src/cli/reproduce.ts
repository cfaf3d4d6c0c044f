import { LocalgradError } from "../base/errors.ts";
import { refuseFile, writeWhole } from "../base/files.ts";
import type { ImageDataset, ImagePart } from "../data.ts";
import { DATASETS } from "../data/datasets.ts";
import { setup } from "../local.ts";
import { type Flags, type Given, oneOf, parseFlags, wholeNumber } from "./flags.ts";
import { interruption } from "./interruption.ts";
import { openReproduction, resultsIn, runToEnd } from "./reproduction.ts";
import { describePublished, type Heading, html, markdown, type RowResults } from "./results_table.ts";
import type { RunResult } from "./results.ts";
import { loadImages, openDevice, setupOf, warmupOf } from "./build.ts";
import { placeFlags, saveEveryFlag, saveEveryFrom, type Settings, settingsFrom } from "./settings.ts";
import { withClasses } from "./stored_settings.ts";
import type { Row, Table } from "./table_rows.ts";
import { tables } from "./tables.ts";
import { note, textTable } from "./terminal.ts";

const { data, device, precision } = placeFlags;

/** Flags of `reproduce`. */
export const reproduceFlags = {
  table: { value: Object.keys(tables).join("|"), help: "which table" },
  rows: { value: "NAME,…", help: "these rows only; * stands for anything, as in resnet32-k16-*" },
  list: { help: "print the rows with their published figures, and end" },
  seeds: { value: "N", help: "runs of each row, with seeds 0 … N − 1; default 3, or as the table has it" },
  epochs: { value: "N", help: "passes over the training images; default as published" },
  "train-limit": { value: "N", help: "use the first N training images" },
  "test-limit": { value: "N", help: "use the first N test images" },
  "save-every": saveEveryFlag,
  batch: { value: "N", help: "images of a step; default as published" },
  lr: { value: "RATE", help: "highest learning rate; default as published, in proportion to the batch" },
  run: { value: "DIR", help: "folder for the runs, table.md and table.html; the same command goes on there" },
  data,
  device,
  precision,
} as const satisfies Flags;

/** `reproduce` exits with this where it went through but runs failed: the table is written, and says why. */
const SOME_FAILED = 3;

/**
 * `reproduce`: runs rows of a published table one after another, and writes ours beside the published figures. Gives the
 * exit code.
 */
export async function reproduce(args: readonly string[]): Promise<number> {
  const given = parseFlags("reproduce", reproduceFlags, args);
  const names = Object.keys(tables);
  if (given.table === undefined) {
    throw new LocalgradError(`reproduce needs a table: --table ${names.join("|")}`);
  }
  const name = oneOf("table", given.table, names);
  const table = tables[name];
  const rows = chosen(table, given.rows);
  if (given.list) {
    list(rows);
    return 0;
  }
  const folder = given.run;
  if (folder === undefined) throw new LocalgradError("reproduce needs a folder for its runs: --run DIR");
  await refuseFile(folder);
  const saving = given["save-every"] === undefined ? {} : { saveEvery: saveEveryFrom(given["save-every"]) };
  const seeds = given.seeds === undefined ? undefined : wholeNumber("seeds", given.seeds, 1);
  const wanted = sharedSettings(table, given);
  for (const row of rows) setup(setupOf(settingsOf(row, 0, wanted))); // refused before anything is loaded
  const images = await loadImages(wanted);
  const shared = withClasses(wanted, images);
  const opened = () => openDevice(given, shared);
  const { name: backend, choice } = await closed(opened);
  const { model: _model, modules: _modules, method: _method, seed: _seed, data: _data, ...identity } = shared;
  using _alone = await openReproduction(folder, { table: name, device: backend, ...identity });
  note(`device ${choice}`);

  const heading: Heading = {
    table,
    settings: describe(shared, images, choice),
    deviations: deviations(table, shared, images),
  };
  // Rows that an earlier call did stay in the table.
  const results: (RowResults & { readonly results: Map<number, RunResult> })[] = [];
  for (const row of table.rows) {
    const done = await resultsIn(`${folder}/${row.name}`);
    if (!rows.includes(row) && done.size === 0) continue;
    results.push({ row, seeds: Math.max(seeds ?? row.seeds ?? 3, done.size), results: done });
  }
  const write = async () => {
    await writeWhole(`${folder}/table.md`, markdown(heading, results));
    await writeWhole(`${folder}/table.html`, html(heading, results));
  };
  await write();
  using interrupt = interruption();
  for (const [index, row] of rows.entries()) {
    const count = seeds ?? row.seeds ?? 3;
    const { results: done } = results.find((each) => each.row === row)!;
    for (let seed = 0; seed < count; seed++) {
      note(`\nrow ${index + 1} of ${rows.length}: ${row.name}, seed ${seed} (run ${seed + 1} of ${count})`);
      if (done.has(seed)) {
        note("done before");
        continue;
      }
      const result = await runToEnd({
        folder: `${folder}/${row.name}/seed${seed}`,
        settings: settingsOf(row, seed, shared),
        images,
        open: opened,
        signal: interrupt.signal,
        ...saving,
      });
      if (result === undefined) {
        note("stopped and saved; the same command goes on");
        return interrupt.exitCode;
      }
      if ("failed" in result) note(`failed: ${result.failed}`);
      done.set(seed, result);
      await write();
    }
  }
  console.log(markdown(heading, results));
  note(`tables: ${folder}/table.md, ${folder}/table.html`);
  const failed = results.flatMap(({ row, results }) => rows.includes(row) ? [...results.values()] : [])
    .filter((result) => "failed" in result).length;
  if (failed === 0) return 0;
  note(`${failed} of the runs asked for failed; the table says why`);
  return SOME_FAILED;
}

/** What a row's run is, given what all share. */
function settingsOf({ model, modules, method, options }: Row, seed: number, shared: Settings): Settings {
  const own = options === undefined ? {} : { methodOptions: options };
  return { ...shared, model, modules, method, ...own, seed };
}

/** The rows of a table that were asked for, in its order. */
function chosen({ rows }: Table, patterns: string | undefined): readonly Row[] {
  if (patterns === undefined) return rows;
  const wanted = new Set<Row>();
  for (const pattern of patterns.split(",").map((pattern) => pattern.trim())) {
    const parts = pattern.split("*").map((part) => part.replace(/[.+?^$(){}|[\]\\]/g, "\\$&"));
    const expression = new RegExp(`^${parts.join(".*")}$`);
    const found = rows.filter(({ name }) => expression.test(name));
    if (found.length === 0) {
      throw new LocalgradError(`the table has no row ${JSON.stringify(pattern)}; --list prints its rows`);
    }
    for (const row of found) wanted.add(row);
  }
  return rows.filter((row) => wanted.has(row));
}

function list(rows: readonly Row[]): void {
  const lines = rows.map((row) => [row.name, row.published.map(describePublished).join("; ") || "–"]);
  console.log(textTable(["row", "published test error, %"], lines));
}

/** What all rows share, beside a network, cut and method of no row: the published recipe, or the table's own, with what flags change. */
function sharedSettings({ dataset, recipe: own }: Table, given: Given<typeof reproduceFlags>): Settings {
  const { recipe } = DATASETS[dataset];
  return settingsFrom({
    dataset,
    epochs: String(own?.epochs ?? recipe.epochs),
    batch: String(own?.batch ?? recipe.batch),
    ...(own === undefined ? {} : { "train-limit": String(own.trainLimit) }),
    ...pick(given, ["epochs", "batch", "lr", "train-limit", "test-limit", "data", "precision"]),
  });
}

function pick<T extends object, N extends keyof T>(from: T, names: readonly N[]): Pick<T, N> {
  return Object.fromEntries(
    names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]),
  ) as Pick<T, N>;
}

/** A device's name and why it was chosen. */
async function closed(
  opened: () => ReturnType<typeof openDevice>,
): Promise<{ name: string; choice: string }> {
  await using device = await opened();
  const { name, choice } = device;
  return { name, choice };
}

function describe(
  settings: Settings,
  { train, test, classes }: ImageDataset<ImagePart>,
  device: string,
): [string, string][] {
  const { dataset, epochs, batch, lr, precision } = settings;
  return [
    [
      "data",
      `${dataset}: ${train.count} training and ${test.count} test images of ${classes.length} classes`,
    ],
    ["epochs", String(epochs)],
    ["batch", String(batch)],
    ["learning rate", `${lr}, falling along a cosine${warmupOf(settings) > 0 ? " after a warm-up" : ""}`],
    ["optimizer", "SGD, Nesterov momentum 0.9, weight decay 1e-4"],
    ["precision", precision ?? "the device's default"],
    ["device", device],
    ["versions", `Deno ${Deno.version.deno}`],
  ];
}

/** The classes of the published tables' largest set, which a folder need not be. */
const IMAGENET_CLASSES = 1000;

/** How settings differ from the published recipe. */
function deviations(
  { dataset }: Table,
  { epochs, batch, lr, trainLimit, testLimit }: Settings,
  { train, test, classes }: ImageDataset<ImagePart>,
): string[] {
  const { recipe, classes: published = IMAGENET_CLASSES } = DATASETS[dataset];
  const differs = (what: string, ours: number, theirs: number) =>
    ours === theirs ? [] : [`${what}: ${ours} instead of ${theirs}`];
  return [
    ...differs("classes", classes.length, published),
    ...differs("epochs", epochs, recipe.epochs),
    ...differs("batch", batch, recipe.batch),
    ...differs("learning rate", lr, recipe.lr),
    ...(trainLimit === undefined ? [] : [`trained on the first ${train.count} images only`]),
    ...(testLimit === undefined ? [] : [`judged on the first ${test.count} test images only`]),
  ];
}
