import { formatBytes, formatError, formatPercent, formatTime } from "../artifacts/format.ts";
import stored from "./demo_results.json" with { type: "json" };
import type { Settings } from "./settings.ts";

/** A row of the demo. */
export interface DemoRow {
  readonly name: string;
  readonly settings: Pick<Settings, "method" | "methodOptions" | "modules">;
  /** The row whose result it has, bit for bit, in other memory and time; it is trained for a few epochs only. */
  readonly sameAs?: string;
}

/** The rows: both ends of the scale, and checkpointing, which saves memory too. */
export const ROWS: readonly DemoRow[] = [
  { name: "end to end", settings: { method: "endToEnd", modules: 1 } },
  {
    name: "end to end, checkpointed",
    settings: { method: "endToEnd+checkpoint", modules: 1 },
    sameAs: "end to end",
  },
  { name: "local: dgl", settings: { method: "dgl", modules: { balanced: 3 } } },
];

/** What all rows share. The learning rate is the better of 0.01 and 0.02 for end to end, with correct labels. */
export const SHARED = {
  dataset: "shapes",
  model: "resnet20",
  batch: 64,
  epochs: 16,
  optimizer: { name: "muon" },
  lr: 0.02,
  trainLimit: 1000,
  testLimit: 2000,
} as const satisfies Partial<Settings>;

/** The share of wrong labels, that of common test sets; see `data.shapes`. */
export const MISLABELLED = 0.033;

/** Epochs of a row that has the result of another. */
export const TIMED_EPOCHS = 4;

/** The settings of a row's run. */
export function settingsOf({ settings, sameAs }: DemoRow, seed: number): Settings {
  return {
    ...SHARED,
    ...settings,
    seed,
    scheduleEpochs: SHARED.epochs,
    ...(sameAs === undefined ? {} : { epochs: TIMED_EPOCHS }),
  };
}

/** What a row came to with a seed. */
export interface DemoResult {
  readonly name: string;
  readonly seed: number;
  readonly modules: number;
  /** Of the test images, after the last epoch; none of a row that has the result of another. */
  readonly error?: number | undefined;
  readonly peakBytes: number;
  readonly endToEndBytes: number;
  /** Of all epochs; of a row that is trained for fewer, in proportion. */
  readonly seconds: number;
}

/** Three seeds of every row, as `deno task demo --seeds 3` measured them on two CPU cores. */
export const MEASURED: readonly DemoResult[] = stored.results;

/** The mean error of a row, and the standard deviation; undefined without results. */
export function errorOf(
  name: string,
  results: readonly DemoResult[],
): { mean: number; deviation: number } | undefined {
  const row = ROWS.find((each) => each.name === name);
  const errors = results.filter((each) => each.name === (row?.sameAs ?? name)).flatMap((
    { error },
  ): number[] => error === null || error === undefined ? [] : [error]);
  if (errors.length === 0) return undefined;
  const mean = errors.reduce((sum, each) => sum + each) / errors.length;
  const squares = errors.reduce((sum, each) => sum + (each - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / Math.max(1, errors.length - 1)) };
}

const spread = (name: string) => {
  const error = errorOf(name, MEASURED);
  return error === undefined ? "–" : `${(100 * error.mean).toFixed(2)} ± ${formatError(error.deviation)}`;
};

/** Head and rows of the table. Times are those of the first seed: not every row is trained with the others. */
export function demoTable(results: readonly DemoResult[]): { heads: string[]; rows: string[][] } {
  const rows = ROWS.flatMap((row) => {
    const own = results.filter(({ name }) => name === row.name);
    const [first] = own;
    if (first === undefined) return [];
    const error = errorOf(row.name, results);
    return [[
      row.name,
      String(first.modules),
      error === undefined ? "–" : formatError(error.mean),
      spread(row.name),
      formatBytes(first.peakBytes),
      formatPercent(first.peakBytes / first.endToEndBytes, 1),
      `${row.sameAs === undefined ? "" : "~"}${formatTime(first.seconds)}`,
    ]];
  });
  return {
    heads: ["method", "modules", "test error", "of 3 seeds", "planned peak", "of end to end", "time"],
    rows,
  };
}

/** The command that plans the local row of the demo. */
export const PLAN = "deno task memory --model resnet20 --modules 3 --split balanced --batch 64 " +
  "--method dgl --optimizer muon";

/** What the table shows, in sentences. */
export function meaning(results: readonly DemoResult[]): string[] {
  const [end, checkpointed, local] = ROWS.map(({ name }) => results.find((each) => each.name === name));
  if (end === undefined || checkpointed === undefined || local === undefined) return [];
  const share = ({ peakBytes, endToEndBytes }: DemoResult) => formatPercent(peakBytes / endToEndBytes, 1);
  const more = 100 * (errorMean(local.name) - errorMean(end.name));
  const longer = formatPercent(checkpointed.seconds / end.seconds - 1, 0);
  return [
    `Local modules plan ${share(local)} of end to end's peak; over three seeds the error is ${
      more.toFixed(2)
    } points higher.`,
    `Of the labels, ${
      formatPercent(MISLABELLED, 1)
    } are wrong on purpose, in both parts: that much of every error no method can learn. ` +
    "With SGD in place of Muon, local modules were further behind in trials.",
    `Checkpointing plans ${
      share(checkpointed)
    } and computes the same bits as end to end, in ${longer} more time: ` +
    "where that fits into memory, take it.",
    "Local learning pays below that: where activations fill the memory (deep networks, large batches or images) and " +
    "a higher error is acceptable.",
    "man+dgl adds two blocks and a head at each boundary: in three balanced modules it plans 111 % of end to end's peak " +
    "for ResNet-8 and 59 % for ResNet-20, so it does not pay for small networks; ResNet-110 in 54 modules needs 12 % " +
    "at a batch of 1024.",
    `Plan your own network: ${PLAN}`,
  ];
}

const errorMean = (name: string) => errorOf(name, MEASURED)?.mean ?? NaN;
