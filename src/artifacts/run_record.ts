import {
  boolean,
  decodeJson,
  type Decoder,
  json,
  list,
  number,
  object,
  optional,
  record,
  text,
  whole,
} from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";
import { exists, readIfThere, writeWhole } from "../base/files.ts";
import type { MemoryReport, Recomputed, Traffic, Work } from "../compile/plan.ts";
import type { MemoryComparison } from "../local/memory.ts";
import type { Settings } from "./checkpoint.ts";
import { expectRunFolder, runsWithin } from "./misplaced.ts";
import { type MetricsLine, readMetrics, secondsOf } from "./metrics.ts";
import type { Choice, DescribedWay, RunInfo } from "./observer.ts";
import type { RunReport } from "./report.ts";
import { readSamples, type Samples } from "./samples.ts";
import type { RunDevice } from "./run_devices.ts";

const FORMAT = 1;
const NAME = "run.json";

/** Contents of `run.json`: what a report says of a run beside its metrics. */
interface RunRecord {
  readonly format: number;
  readonly info: Omit<RunInfo, "memory">;
  /** The planned memory; `method` is absent if it is that of end to end. */
  readonly memory: { readonly method?: MemoryReport; readonly endToEnd: MemoryReport };
  readonly settings: Settings;
}

const work = { operations: number, bytes: number };

const memoryReport: Decoder<MemoryReport> = object<MemoryReport>({
  peakBytes: number,
  arenaBytes: number,
  breakdown: record(number),
  heldAtPeak: list(object({ what: text, scope: text, bytes: number })),
  timeline: list(object({ scope: text, liveBytes: number })),
  traffic: optional(record(object<Traffic>({ operations: number, bytes: number }))),
  peakInOrder: optional(number),
  recompute: optional(object<Recomputed>({ ...work, seconds: optional(number), of: object<Work>(work) })),
});

const way = { description: text, peakBytes: number };

const recordFields = object<RunRecord>({
  format: whole(1),
  info: object<RunRecord["info"]>({
    configuration: record(json),
    epochs: whole(),
    stepsPerEpoch: whole(1),
    imagesPerEpoch: whole(),
    firstStep: whole(),
    resumed: boolean,
    modules: list(text),
    choice: optional(object<Choice>({
      ...{ limit: number, reserve: optional(number) },
      ...way,
      next: optional(object<DescribedWay>(way)),
    })),
    devices: optional(list(object<RunDevice>({ arithmetic: text, firstStep: whole() }))),
    classNames: optional(list(text)),
    validationImages: optional(whole(1)),
    dataset: optional(text),
    learningRate: optional(number),
    remarks: optional(list(text)),
  }),
  memory: object<RunRecord["memory"]>({ method: optional(memoryReport), endToEnd: memoryReport }),
  settings: record(json),
});

/** Path of the record in the folder of a run. */
export function recordPath(folder: string): string {
  return `${folder}/${NAME}`;
}

/** What a report says of a run: its duration is that until its last evaluation. */
export function runReport(
  info: RunInfo,
  lines: readonly MetricsLine[],
  settings: Settings,
  samples?: Samples,
): RunReport {
  const seconds = secondsOf(lines);
  return {
    info,
    lines,
    settings,
    ...(seconds === undefined ? {} : { seconds }),
    ...(samples === undefined ? {} : { samples }),
  };
}

/** Writes `run.json` into the folder of a run, atomically. */
export async function writeRecord(folder: string, info: RunInfo, settings: Settings): Promise<void> {
  const { memory: { method, endToEnd }, ...others } = info;
  const content: RunRecord = {
    format: FORMAT,
    info: others,
    memory: method === endToEnd ? { endToEnd } : { method, endToEnd },
    settings,
  };
  await writeWhole(recordPath(folder), JSON.stringify(content));
}

/**
 * Reads what the folder of a run tells of it, finished or in progress: its `run.json` and its `metrics.jsonl`.
 * `report([await readReport(folder)])` is the page that the run wrote last.
 *
 * @throws {LocalgradError} if the folder holds no run, or one of an earlier version, or a file is damaged.
 */
export async function readReport(folder: string): Promise<RunReport> {
  expectKind("readReport: the folder of a run", folder, "string");
  await expectRunFolder(folder);
  const path = recordPath(folder);
  const bytes = await readIfThere(path);
  if (bytes === undefined) {
    throw new LocalgradError(
      await exists(`${folder}/last.safetensors`)
        ? `${folder} has no ${NAME}: it holds a run of an earlier version, which gets the file when it is resumed`
        : `${folder} has no ${NAME}: it does not hold a run; ${await runsWithin(folder)}`,
    );
  }
  const source = { file: path, remedy: "resume the run, which writes the file again" };
  const { format } = decodeJson(bytes, source, object({ format: whole(1) }));
  if (format > FORMAT) {
    throw new LocalgradError(`${path} has format ${format}; this localgrad reads formats up to ${FORMAT}`);
  }
  const { info, memory: { method, endToEnd }, settings } = decodeJson(bytes, source, recordFields);
  const memory: MemoryComparison = { method: method ?? endToEnd, endToEnd };
  const lines = await readMetrics(`${folder}/metrics.jsonl`);
  return runReport({ ...info, memory }, lines, settings, await readSamples(folder));
}
