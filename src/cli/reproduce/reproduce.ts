import { LocalgradError } from "../../base/errors.ts";
import { refuseFile, writeWhole } from "../../base/files.ts";
import { keysOf } from "../../base/keys.ts";
import type { ImageDataset, ImagePart } from "../../data.ts";
import { setup } from "../../local.ts";
import { unplanned } from "../cut.ts";
import { DATASETS } from "../datasets.ts";
import { type Flags, type Given, oneOf, parseFlags, wholeNumber } from "../flags/flags.ts";
import { interruption } from "../interruption.ts";
import { keep, keptSettings, readKept, shownResult } from "./kept_results.ts";
import { type Identity, openReproduction, resultsIn, runToEnd } from "./reproduction.ts";
import { describePublished, type Heading, html, markdown, type RowResults } from "./results_table.ts";
import type { RunResult } from "./results.ts";
import { timingOf } from "./row_timing.ts";
import { loadImages, openDevice, setupOf, warmupOf } from "../build.ts";
import { type Settings, settingsFrom } from "../settings.ts";
import { placeFlags } from "../flags/place.ts";
import { saveEveryFlag, saveEveryFrom } from "../flags/save_every.ts";
import { withClasses } from "../stored_settings.ts";
import type { Row, Table } from "./table_rows.ts";
import { tables } from "./tables.ts";
import { note, print, textTable } from "../terminal.ts";

const tableNames = keysOf(tables);
const { data, device, precision } = placeFlags;

/** Flags of `reproduce`. */
export const reproduceFlags = {
  table: { value: tableNames.join("|"), help: "table to reproduce" },
  rows: { value: "NAME,…", help: "run only these rows; * matches anything, as in resnet32-k16-*" },
  list: { help: "list the rows with their published figures and exit" },
  seeds: { value: "N", help: "runs of each row, with seeds 0 … N − 1; default 3, or as the table says" },
  epochs: { value: "N", help: "passes over the training images; default as published" },
  "train-limit": { value: "N", help: "use the first N training images" },
  "test-limit": { value: "N", help: "use the first N test images" },
  "save-every": saveEveryFlag,
  batch: { value: "N", help: "images per step; default as published" },
  lr: { value: "RATE", help: "peak learning rate; default the published one, scaled with the batch" },
  run: { value: "DIR", help: "folder for the runs, table.md and table.html; the same command resumes them" },
  results: {
    value: "DIR",
    help:
      "keep the results of finished runs here too, and do not run those again; default docs/frontier for frontier",
  },
  timing: {
    help: "do not run anything: time some steps of each row whose result is kept; leave the machine idle",
  },
  data,
  device,
  precision,
} as const satisfies Flags;

const DEFAULT_SEEDS = 3;

/** Exit code if `reproduce` finished but some runs failed; the table is written and lists the reasons. */
const SOME_FAILED = 3;

/**
 * `reproduce`: runs the rows of a published table one after another, and writes our results next to the published
 * figures. Returns the exit code.
 */
export async function reproduce(args: readonly string[]): Promise<number> {
  const given = parseFlags("reproduce", reproduceFlags, args);
  if (given.table === undefined) {
    throw new LocalgradError(`reproduce needs a table: --table ${tableNames.join("|")}`);
  }
  const name = oneOf("table", given.table, tableNames);
  const table = tables[name];
  const rows = chosen(table, given.rows);
  if (given.list) {
    list(rows);
    return 0;
  }
  const kept = given.results ?? table.kept;
  if (given.timing) return await timeKept(table, rows, kept, given);
  const folder = given.run;
  if (folder === undefined) throw new LocalgradError("reproduce needs a folder for its runs: --run DIR");
  await refuseFile(folder);
  const saving = given["save-every"] === undefined ? {} : { saveEvery: saveEveryFrom(given["save-every"]) };
  const seeds = given.seeds === undefined ? undefined : wholeNumber("seeds", given.seeds, 1);
  const wanted = sharedSettings(table, given);
  for (const row of rows) refuseWrong(settingsOf(row, 0, wanted)); // before anything is loaded
  const images = await loadImages(wanted);
  const shared = withClasses(wanted, images);
  const opened = () => openDevice(given, shared);
  const { name: backend, choice } = await nameAndChoice(opened);
  const identity = identityOf(shared);
  using _alone = await openReproduction(folder, { table: name, device: backend, ...identity });
  note(`device ${choice}`);

  const heading: Heading = {
    table,
    settings: describe(shared, images, choice),
    deviations: deviations(table, shared, images),
  };
  const seedsOf = (row: Row) => seeds ?? row.seeds ?? DEFAULT_SEEDS;
  const keepResult = async (row: Row, seed: number, result: RunResult | undefined) => {
    if (kept === undefined || result === undefined || "failed" in result) return;
    await keep(kept, { row: row.name, seed, settings: keptSettings(row, identity), result });
  };
  // The table keeps rows that an earlier call ran.
  const results: (RowResults & { readonly results: Map<number, RunResult> })[] = [];
  for (const row of table.rows) {
    const done = await resultsIn(`${folder}/${row.name}`);
    for (let seed = 0; kept !== undefined && seed < seedsOf(row); seed++) {
      const found = await readKept(kept, row, seed, keptSettings(row, identity));
      if (found !== undefined) done.set(seed, shownResult(found));
      else await keepResult(row, seed, done.get(seed));
    }
    if (!rows.includes(row) && done.size === 0) continue;
    results.push({ row, seeds: Math.max(seedsOf(row), done.size), results: done });
  }
  const write = async () => {
    await writeWhole(`${folder}/table.md`, markdown(heading, results));
    await writeWhole(`${folder}/table.html`, html(heading, results));
  };
  await write();
  using interrupt = interruption();
  const asked = results.filter(({ row }) => rows.includes(row));
  for (const [index, { row, results: done }] of asked.entries()) {
    const count = seedsOf(row);
    for (let seed = 0; seed < count; seed++) {
      note(`\nrow ${index + 1} of ${rows.length}: ${row.name}, seed ${seed} (run ${seed + 1} of ${count})`);
      if (done.has(seed)) {
        note("already done");
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
        note("stopped and saved; run the same command to resume");
        return interrupt.exitCode;
      }
      if ("failed" in result) note(`failed: ${result.failed}`);
      done.set(seed, result);
      await write();
      await keepResult(row, seed, result);
    }
  }
  print(markdown(heading, results));
  note(`tables: ${folder}/table.md, ${folder}/table.html`);
  const failed = asked.flatMap(({ results }) => [...results.values()])
    .filter((result) => "failed" in result).length;
  if (failed === 0) return 0;
  note(`${failed} of these runs failed; the table lists the reasons`);
  return SOME_FAILED;
}

/** Refuses a setup that cannot be. */
function refuseWrong(settings: Settings): void {
  const wanted = setupOf(settings);
  setup({ ...wanted, modules: unplanned(wanted.modules) });
}

/** The settings that all rows share, without placeholders and the place of the data. */
function identityOf(shared: Settings): Identity {
  const { model: _model, modules: _modules, method: _method, seed: _seed, data: _data, ...identity } = shared;
  return identity;
}

/** Times some steps of each row whose result is kept, and keeps that too. */
async function timeKept(
  table: Table,
  rows: readonly Row[],
  folder: string | undefined,
  given: Given<typeof reproduceFlags>,
): Promise<number> {
  if (folder === undefined) {
    throw new LocalgradError("reproduce --timing needs the folder of kept results: --results DIR");
  }
  const wanted = sharedSettings(table, given);
  const images = await loadImages(wanted);
  const shared = withClasses(wanted, images);
  using interrupt = interruption("stopping after this row");
  for (const row of rows) {
    if (interrupt.signal.aborted) return interrupt.exitCode;
    const found = await readKept(folder, row, 0, keptSettings(row, identityOf(shared)));
    if (found === undefined) continue;
    await using device = await openDevice(given, shared);
    const timing = await timingOf(settingsOf(row, 0, shared), images, device);
    await keep(folder, { ...found, timing });
    note(`${row.name}: ${(1000 * timing.secondsPerStep).toFixed(1)} ms a step on ${timing.device}`);
  }
  return 0;
}

/** The settings of a row's run. */
function settingsOf({ model, modules, method, options }: Row, seed: number, shared: Settings): Settings {
  const own = options === undefined ? {} : { methodOptions: options };
  return { ...shared, model, modules, method, ...own, seed };
}

/** Selects the rows of a table that match the patterns, in its order. */
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
  print(textTable(["row", "published test error, %"], lines));
}

/**
 * The settings that all rows share: the recipe of the table or of the data set, with the changes by flags. Their network,
 * cut and method are placeholders.
 */
function sharedSettings({ dataset, recipe: own }: Table, given: Given<typeof reproduceFlags>): Settings {
  const { recipe } = DATASETS[dataset];
  const { table: _table, rows: _rows, list: _list, seeds: _seeds, run: _run, ...changes } = given;
  const { "save-every": _saveEvery, device: _device, results: _results, timing: _timing, ...changed } =
    changes;
  return settingsFrom({
    dataset,
    epochs: String(own?.epochs ?? recipe.epochs),
    batch: String(own?.batch ?? recipe.batch),
    ...(own === undefined ? {} : { "train-limit": String(own.trainLimit) }),
    ...(own?.lr === undefined ? {} : { lr: String(own.lr) }),
    ...changed,
  });
}

/** Opens and closes a device, to learn its name and why it was chosen. */
async function nameAndChoice(
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
    ["learning rate", `${lr}, with cosine decay${warmupOf(settings) > 0 ? " after a warm-up" : ""}`],
    ["optimizer", "SGD, Nesterov momentum 0.9, weight decay 1e-4"],
    ["precision", precision ?? "the device's default"],
    ["device", device],
    ["versions", `Deno ${Deno.version.deno}`],
  ];
}

/** Classes of ImageNet, the folder of the published tables. */
const IMAGENET_CLASSES = 1000;

/** Differences from the published recipe. */
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
    ...(testLimit === undefined ? [] : [`evaluated on the first ${test.count} test images only`]),
  ];
}
