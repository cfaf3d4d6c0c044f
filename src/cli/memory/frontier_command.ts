import { LocalgradError } from "../../base/errors.ts";
import { readIfThere, writeWhole } from "../../base/files.ts";
import { keysOf } from "../../base/keys.ts";
import type { Target } from "../../compile/plan.ts";
import type { Speeds } from "../../local.ts";
import { typicalSpeeds } from "../../local/limit/options.ts";
import type { Flags, Given } from "../flags/flags.ts";
import { frontierOf, type FrontierRow } from "./frontier.ts";
import { frontierText, MARKS, methodIn, wholeOf, withFrontier } from "./frontier_text.ts";
import { measuredSpeeds } from "./measured_speeds.ts";
import { methodFlagOf } from "../flags/method.ts";
import { speedsFrom } from "./processes.ts";
import { plots } from "../on_demand.ts";
import type { Point } from "../plot.ts";
import type { PlannedDevice } from "../planned_device.ts";
import type { MethodName, Settings } from "../settings.ts";
import { markdownTable, note, print } from "../terminal.ts";
import { type TrainedWay, trainedWays } from "./trained_ways.ts";

/** Where errors are kept, beside the library. */
const KEPT = "docs/frontier";

/** Flags of `memory --frontier`. */
export const frontierFlags = {
  frontier: {
    help:
      "plan methods (--method A,B,…), cuts and recomputation instead: peak against predicted time, the best marked; " +
      "deno task memory:frontier also measures this device's speeds, adds kept errors, and draws",
  },
  plot: { value: "FILE", help: "frontier: also draw it, as SVG" },
  into: {
    value: "FILE",
    help:
      "frontier: also put the marked rows into this Markdown file, between <!-- frontier NETWORK --> and <!-- /frontier -->",
  },
  results: { value: "DIR", help: `frontier: folder of kept results, for errors; default ${KEPT}` },
} as const satisfies Flags;

/** What the frontier is planned for. */
export interface Planning {
  readonly settings: Settings;
  readonly methods: readonly MethodName[] | undefined;
  readonly device: PlannedDevice;
  readonly target: Target;
  /** The device for people. */
  readonly described: string;
}

type Table = (heads: readonly string[], rows: readonly (readonly string[])[]) => string;

/** Prints the frontier of a network, and draws it where that is asked for. */
export async function showFrontier(
  given: Given<typeof frontierFlags & { speeds: { value: string; help: string }; json: { help: string } }>,
  { settings, methods, device, target, described }: Planning,
  table: Table,
): Promise<void> {
  const { model, batch, methodOptions = {} } = settings;
  const [option] = keysOf(methodOptions);
  if (option !== undefined && methods === undefined) {
    throw new LocalgradError(`--${methodFlagOf(option)} is of one method; give --method too`);
  }
  const { speeds, of } = await speedsFor(given.speeds, device, target);
  const rows = frontierOf(settings, target, {
    ...(methods === undefined ? {} : { methods }),
    speeds,
    trained: await errorsFor(given.results, settings),
  });
  if (given.plot !== undefined) {
    const { frontierChart } = await plots();
    const title = `${model}, batch ${batch}, planned for ${described}`;
    await writeWhole(given.plot, await frontierChart(pointsOf(rows), title));
    note(`plot: ${given.plot}`);
  }
  if (given.into !== undefined) {
    const bytes = await readIfThere(given.into);
    if (bytes === undefined) throw new LocalgradError(`--into: there is no file ${given.into}`);
    const document = new TextDecoder().decode(bytes);
    await writeWhole(given.into, withFrontier(document, given.into, model, rows, markdownTable));
    note(`table: ${given.into}`);
  }
  if (given.json) return print(JSON.stringify({ model, batch, device: described, speeds, of, rows }));
  const [operations, bytes] = [speeds.operations, speeds.bytes].map((rate) =>
    `${Number((rate / 1e9).toPrecision(3))} · 10⁹`
  );
  const rates = `${operations} operations and ${bytes} bytes a second`;
  print(
    `${model}, batch ${batch}, planned for ${described}, without the data set; times at ${rates}, ${of}\n`,
  );
  print(frontierText(rows, table));
  print(`\n${MARKS}`);
}

/** The speeds to predict with: those given, else this device's, else typical ones. */
async function speedsFor(
  given: string | undefined,
  device: PlannedDevice,
  target: Target,
): Promise<{ readonly speeds: Speeds; readonly of: string }> {
  if (given !== undefined) return { speeds: speedsFrom(given), of: "as given" };
  const measured = await measuredSpeeds(device);
  if (measured !== undefined) return { speeds: measured.speeds, of: `measured on ${measured.device}` };
  return { speeds: typicalSpeeds(target), of: "typical of its kind" };
}

/** Kept errors; none where the folder may not be read, unless it was asked for. */
async function errorsFor(folder: string | undefined, settings: Settings): Promise<TrainedWay[]> {
  if (folder !== undefined) {
    const found = await trainedWays(folder, settings);
    if (found.length > 0) return found;
    const { model, dataset, batch } = settings;
    throw new LocalgradError(`${folder} has no results of ${model} on ${dataset} with batch ${batch}`);
  }
  const { state } = await Deno.permissions.query({ name: "read", path: KEPT });
  return state === "granted" ? await trainedWays(KEPT, settings) : [];
}

/** What a plot shows of rows: sizes and times relative to end to end. */
function pointsOf(rows: readonly FrontierRow[]): Point[] {
  const whole = wholeOf(rows);
  return rows.map((row) => ({
    name: methodIn(row),
    recomputes: row.limit !== undefined,
    mebibytes: row.peakBytes / 2 ** 20,
    time: row.seconds / whole.seconds,
    ...(row.error === undefined ? {} : { error: row.error }),
    best: row.best,
  }));
}
