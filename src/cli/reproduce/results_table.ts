import { formatBytes, formatMean, formatPercent, formatTime } from "../../artifacts/format.ts";
import { htmlTable, page } from "../../artifacts/page.ts";
import type { Finished, RunResult } from "./results.ts";
import { marks, type Published, type Row, type Table } from "./table_rows.ts";

/** The facts above a table. */
export interface Heading {
  readonly table: Table;
  /** Name and value of each setting. */
  readonly settings: readonly (readonly [string, string])[];
  /** Differences from the published recipe. */
  readonly deviations: readonly string[];
}

/** A row with the results of its runs by seed; without runs that are still to be done. */
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
  "time per run",
  "planned peak",
  "of end-to-end",
  "device memory",
  "backbone",
  "bias",
  "EMA",
  "heads",
];

function cells({ row, seeds, results }: RowResults): string[] {
  const done = [...results.values()].filter((result): result is Finished => !("failed" in result));
  const published = row.published.map(describePublished).join("; ") || "–";
  const [first] = done;
  if (first === undefined) {
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
  const mean = (of: (result: Finished) => number | undefined) => {
    const known = done.flatMap((result): number | number[] => of(result) ?? []);
    return known.length === 0 ? undefined : known.reduce((a, b) => a + b) / known.length;
  };
  const seconds = mean(({ seconds }) => seconds);
  const { modules, parameters, plannedPeakBytes, endToEndPeakBytes } = first;
  return [
    row.name,
    String(modules),
    errors(done, "final") + (count.length === 0 ? "" : ` (${count.join(", ")})`),
    errors(done, "best"),
    done.map(({ bestEpoch }) => bestEpoch).join(", "),
    published,
    String(Math.round(mean(({ imagesPerSecond }) => imagesPerSecond) ?? 0) || "–"), // without compilation, so a single step has no speed
    seconds === undefined ? "–" : formatTime(seconds),
    formatBytes(plannedPeakBytes),
    formatPercent(plannedPeakBytes / endToEndPeakBytes, 1),
    describeHeld(done),
    ...(["backbone", "bias", "ema", "heads"] as const).map((part) => parameters[part].toLocaleString("en")),
  ];
}

function errors(done: readonly Finished[], which: "final" | "best"): string {
  const topFive = done.flatMap((result): number | number[] => result.topFive?.[which] ?? []);
  const error = formatMean(done.map((result) => result[`${which}Error`]));
  return topFive.length < done.length ? error : `${error} (top-5 ${formatMean(topFive)})`;
}

function describeHeld(done: readonly Finished[]): string {
  const held = formatBytes(Math.max(...done.map(({ heldBytes }) => heldBytes)));
  const driver = done.flatMap(({ driverBytes }): number | number[] => driverBytes ?? []);
  const resident = done.flatMap(({ residentBytes }): number | number[] => residentBytes ?? []);
  const most = (name: string, bytes: readonly number[]): string[] =>
    bytes.length === 0 ? [] : [`${name} ${formatBytes(Math.max(...bytes))}`];
  const others = [...most("driver", driver), ...most("process", resident)];
  return others.length === 0 ? held : `${held} (${others.join(", ")})`;
}

/** Formats a published figure with its source and mark. */
export function describePublished({ from, error, spread, topFive, mark }: Published): string {
  const figure = `${error.toFixed(2)}${spread === undefined ? "" : ` ± ${spread.toFixed(2)}`}`;
  return `${figure}${topFive === undefined ? "" : ` (top-5 ${topFive.toFixed(2)})`} ${from} ${mark}`;
}

/** The reasons why runs failed; seeds with the same reason share a line. */
function failures(rows: readonly RowResults[]): string[] {
  return rows.flatMap(({ row, results }) => {
    const seeds = new Map<string, number[]>();
    for (const [seed, result] of results) {
      if ("failed" in result) seeds.set(result.failed, [...seeds.get(result.failed) ?? [], seed]);
    }
    return [...seeds].map(([why, of]) => `${row.name}, seed ${of.join(", ")}: ${why}`);
  });
}

/** Cuts and options of rows that their names do not tell. */
function particulars(rows: readonly RowResults[]): string[] {
  return rows.flatMap(({ row: { name, options = {}, modules } }) => {
    const cut = typeof modules === "object" && "published" in modules ? [`cut as ${modules.published}`] : [];
    const given = Object.entries(options).map(([option, value]) => `${option} ${value}`);
    return cut.length + given.length === 0 ? [] : [`${name}: ${[...cut, ...given].join(", ")}`];
  });
}

const LEGEND = [
  "Errors are test errors in percent: mean ± standard deviation over seeds. The best epoch is selected by test error, " +
  "as in the papers.",
  "Published figures are from the authors' settings and hardware, not measured here. Their marks: " +
  Object.entries(marks).map(([mark, where]) => `${mark} ${where}`).join("; ") + ".",
  "Planned peak: memory of a training step, without the data set. Device memory: the most that variables, data set, " +
  "constants and the arena occupied after any epoch; the driver's figure includes all other programs.",
  "A failed run is not repeated; remove its folder to run it again.",
  "Parameters are those in training: the network, MAN's learnable biases, its averages, other auxiliary networks.",
];

/** Formats a table as Markdown. */
export function markdown({ table, settings, deviations }: Heading, rows: readonly RowResults[]): string {
  const escaped = (text: string) => text.replaceAll("|", "\\|");
  const line = (texts: readonly string[]) => `| ${texts.map(escaped).join(" | ")} |`;
  const list = (title: string, items: readonly string[]) =>
    items.length === 0 ? [] : [`**${title}**`, "", ...items.map((item) => `- ${item}`), ""];
  return [
    `# ${table.title}`,
    "",
    ...list("Not directly comparable with the published figures", deviations),
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

/** Formats a table as a self-contained HTML page. */
export function html({ table, settings, deviations }: Heading, rows: readonly RowResults[]): string {
  const list = (title: string, items: readonly string[]) =>
    items.length === 0 ? "" : `<h2>${title}</h2>${htmlTable([], items.map((item) => [item]))}`;
  const paragraphs = LEGEND.map((text) => `<p>${text}</p>`).join("\n");
  return page(
    table.title,
    `${htmlTable(HEADS, rows.map(cells))}
${list("Not directly comparable with the published figures", deviations)}
${list("Failed", failures(rows))}
${list("Options of methods", particulars(rows))}
<h2>Settings</h2>${htmlTable(["setting", "value"], settings)}
<h2>Notes</h2>${paragraphs}`,
  );
}
