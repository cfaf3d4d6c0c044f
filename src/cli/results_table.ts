import { formatBytes, formatPercent, formatTime } from "../artifacts/format.ts";
import { htmlTable, page } from "../artifacts/page.ts";
import type { Finished, RunResult } from "./results.ts";
import { marks, type Published, type Row, type Table } from "./table_rows.ts";

/** The facts that stand above a table. */
export interface Heading {
  readonly table: Table;
  /** Name and value of each setting. */
  readonly settings: readonly (readonly [string, string])[];
  /** How the settings differ from the published recipe; empty where they do not. */
  readonly deviations: readonly string[];
}

/** A row with what its runs came to, by seed; runs not done yet are left out. */
export interface RowResults {
  readonly row: Row;
  readonly seeds: number;
  readonly results: ReadonlyMap<number, RunResult>;
}

const HEADS: readonly string[] = [
  "row",
  "modules",
  "final error",
  "best error",
  "best epoch",
  "published error",
  "images/s",
  "time of a run",
  "planned peak",
  "of end-to-end",
  "device held",
  "backbone",
  "bias",
  "EMA",
  "heads",
];

function cells({ row, seeds, results }: RowResults): string[] {
  const done = [...results.values()].filter((result): result is Finished => !("failed" in result));
  const published = row.published.map(describePublished).join("; ") || "–";
  if (done.length === 0) {
    const state = results.size === 0 ? "not run yet" : "failed, see below";
    return HEADS.map((head) =>
      ({ "row": row.name, "final error": state, "published error": published })[head] ?? "–"
    );
  }
  const failed = results.size - done.length;
  const count = [
    ...(done.length < seeds ? [`${done.length} of ${seeds} seeds`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
  ];
  const mean = (of: (result: Finished) => number) => average(done.map(of));
  const [{ modules, parameters, plannedPeakBytes, endToEndPeakBytes }] = done;
  return [
    row.name,
    String(modules),
    errors(done, "final") + (count.length === 0 ? "" : ` (${count.join(", ")})`),
    errors(done, "best"),
    done.map(({ bestEpoch }) => bestEpoch).join(", "),
    published,
    String(Math.round(mean(({ imagesPerSecond }) => imagesPerSecond)) || "–"), // compilation apart, so a single step has none
    formatTime(mean(({ seconds }) => seconds)),
    formatBytes(plannedPeakBytes),
    formatPercent(plannedPeakBytes / endToEndPeakBytes, 1),
    describeHeld(done),
    ...(["backbone", "bias", "ema", "heads"] as const).map((part) => parameters[part].toLocaleString("en")),
  ];
}

function errors(done: readonly Finished[], which: "final" | "best"): string {
  const topFive = done.flatMap((result) => result.topFive?.[which] ?? []);
  const error = spread(done.map((result) => result[`${which}Error`]));
  return topFive.length < done.length ? error : `${error} (top-5 ${spread(topFive)})`;
}

function describeHeld(done: readonly Finished[]): string {
  const held = formatBytes(Math.max(...done.map(({ heldBytes }) => heldBytes)));
  const driver = done.flatMap(({ driverBytes }) => driverBytes ?? []);
  return driver.length === 0 ? held : `${held} (driver ${formatBytes(Math.max(...driver))})`;
}

/** A published figure with its source and mark. */
export function describePublished({ from, error, spread, topFive, mark }: Published): string {
  const figure = `${error.toFixed(2)}${spread === undefined ? "" : ` ± ${spread.toFixed(2)}`}`;
  return `${figure}${topFive === undefined ? "" : ` (top-5 ${topFive.toFixed(2)})`} ${from} ${mark}`;
}

const average = (values: readonly number[]) => values.reduce((a, b) => a + b) / values.length;

/** Mean ± standard deviation (of a sample, where there is more than one) of fractions, in percent. */
export function spread(fractions: readonly number[]): string {
  const mean = average(fractions);
  const percent = (fraction: number) => (fraction * 100).toFixed(2);
  if (fractions.length === 1) return percent(mean);
  const variance = fractions.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (fractions.length - 1);
  return `${percent(mean)} ± ${percent(Math.sqrt(variance))}`;
}

/** Why runs failed; seeds that failed alike are told of together. */
function failures(rows: readonly RowResults[]): string[] {
  return rows.flatMap(({ row, results }) => {
    const seeds = new Map<string, number[]>();
    for (const [seed, result] of results) {
      if ("failed" in result) seeds.set(result.failed, [...seeds.get(result.failed) ?? [], seed]);
    }
    return [...seeds].map(([why, of]) => `${row.name}, seed ${of.join(", ")}: ${why}`);
  });
}

/** What rows are made with beyond their names. */
function particulars(rows: readonly RowResults[]): string[] {
  return rows.flatMap(({ row: { name, options = {}, modules } }) => {
    const cut = typeof modules === "object" && "published" in modules ? [`cut as ${modules.published}`] : [];
    const given = Object.entries(options).map(([option, value]) => `${option} ${value}`);
    return cut.length + given.length === 0 ? [] : [`${name}: ${[...cut, ...given].join(", ")}`];
  });
}

const LEGEND = [
  "Errors are test errors in percent: mean ± standard deviation over the seeds; the best epoch is chosen by test error, " +
  "as in the papers.",
  "Published figures are the authors' own settings and hardware, never measured here. Their marks: " +
  Object.entries(marks).map(([mark, where]) => `${mark} ${where}`).join("; ") + ".",
  "Planned peak: of a training step, without the data set. Device held: the most that variables, data set, constants " +
  "and the arena took on the device after any epoch; by the driver's count everything in use on it, by everybody.",
  "A run that failed is not tried again; remove its folder to do so.",
  "Parameters are counted in training: the network, MAN's learnable biases, its averages, other auxiliary networks.",
];

/** A table as Markdown. */
export function markdown({ table, settings, deviations }: Heading, rows: readonly RowResults[]): string {
  const escaped = (text: string) => text.replaceAll("|", "\\|");
  const line = (texts: readonly string[]) => `| ${texts.map(escaped).join(" | ")} |`;
  const list = (title: string, items: readonly string[]) =>
    items.length === 0 ? [] : [`**${title}**`, "", ...items.map((item) => `- ${item}`), ""];
  return [
    `# ${table.title}`,
    "",
    ...list("Not comparable with the published figures as they stand", deviations),
    line(HEADS),
    line(HEADS.map((_, column) => column === 0 ? ":--" : "--:")),
    ...rows.map((row) => line(cells(row))),
    "",
    ...list("Failed", failures(rows)),
    ...list("Options of methods", particulars(rows)),
    ...list("Settings", settings.map(([name, value]) => `${name}: ${value}`)),
    ...LEGEND.flatMap((text) => [text, ""]),
  ].join("\n").trimEnd() + "\n";
}

/** The same as an HTML page that stands alone. */
export function html({ table, settings, deviations }: Heading, rows: readonly RowResults[]): string {
  const list = (title: string, items: readonly string[]) =>
    items.length === 0 ? "" : `<h2>${title}</h2>${htmlTable([], items.map((item) => [item]))}`;
  const paragraphs = LEGEND.map((text) => `<p>${text}</p>`).join("\n");
  return page(
    table.title,
    `<div class="wide">${htmlTable(HEADS, rows.map(cells))}</div>
${list("Not comparable with the published figures as they stand", deviations)}
${list("Failed", failures(rows))}
${list("Options of methods", particulars(rows))}
<h2>Settings</h2>${htmlTable(["setting", "value"], settings)}
<h2>How to read it</h2>${paragraphs}`,
  );
}
