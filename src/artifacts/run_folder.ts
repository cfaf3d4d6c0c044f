import type { Processes } from "../backends/communicator.ts";
import { sharedBytes } from "../backends/shared_bytes.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind, expectOptions, shown } from "../base/expect.ts";
import {
  exists,
  makeFolder,
  openAlone,
  refuseFile,
  removeIfThere,
  removeParts,
  writeWhole,
} from "../base/files.ts";
import {
  type Checkpoint,
  decodeCheckpoint,
  readCheckpoint,
  readCheckpointFile,
  type Settings,
  writeCheckpoint,
} from "./checkpoint.ts";
import { epochLine, type MetricsLine, MetricsWriter, secondsOf, stepLine } from "./metrics.ts";
import { expectRunFolder, runsWithin } from "./misplaced.ts";
import type { EpochRecord, Observer, RunInfo, Snapshot, StepRecord } from "./observer.ts";
import { report } from "./report.ts";
import { type Samples, samplesPath, writeSamples } from "./samples.ts";
import { recordPath, runReport, writeRecord } from "./run_record.ts";

/** Checkpoint of a run: its last state, or the state of its lowest test error, of a segmentation of its highest mean IoU. */
export type CheckpointKind = "last" | "best";

function checkpointPath(folder: string, kind: CheckpointKind): string {
  return `${folder}/${kind}.safetensors`;
}

/** Refuses an argument that is not a path, or empty, which would stand for the root. */
function expectFolder(folder: string): void {
  expectKind("the folder of a run", folder, "string");
  if (folder === "") throw new LocalgradError("the path of a run's folder is empty");
}

/** True if a folder holds a run that can be resumed. */
export function holdsRun(folder: string): Promise<boolean> {
  return exists(checkpointPath(folder, "last"));
}

/**
 * Reads a checkpoint of the run in a folder. Of several `processes`, all of which call it, the first reads the file and
 * gives it to the others.
 *
 * @throws {LocalgradError} if there is none, or it is truncated, damaged or not one of localgrad's.
 */
export async function readRun(
  folder: string,
  kind: CheckpointKind,
  options: { processes?: Processes | undefined } = {},
): Promise<Checkpoint> {
  expectFolder(folder);
  expectOptions("readRun", options, { processes: "object?" });
  const { processes } = options;
  if (kind !== "best" && kind !== "last") {
    throw new LocalgradError(`readRun: the checkpoint must be "last" or "best", not ${shown(kind)}`);
  }
  const path = checkpointPath(folder, kind);
  if (processes === undefined || processes.size === 1) return decodeCheckpoint(await read(), path);
  return decodeCheckpoint(sharedBytes(processes, processes.rank === 0 ? await read() : undefined), path);

  async function read(): Promise<Uint8Array<ArrayBuffer>> {
    await expectRunFolder(folder);
    if (!await holdsRun(folder) && !await exists(path)) {
      throw new LocalgradError(`there is no checkpoint ${path}; ${await runsWithin(folder)}`);
    }
    if (kind === "best" && !await exists(path) && await holdsRun(folder)) {
      const { snapshot } = await readCheckpoint(checkpointPath(folder, "last"));
      throw new LocalgradError(
        snapshot.bestError === undefined
          ? `${folder} has no best checkpoint, because it was stopped before its first evaluation; use the last one`
          : `${path} is missing, although the run was evaluated; restore the file or use the last checkpoint`,
      );
    }
    return await readCheckpointFile(path);
  }
}

/**
 * An observer that keeps a run in a folder: `run.json`, its settings and planned memory; `metrics.jsonl`, a line for
 * each step and epoch; `last.safetensors` and `best.safetensors`, each written atomically; `report.html`, a self-contained
 * page; and `samples.json`, its pictures, if `fit` is asked for samples. To resume a run, first restore the trainer from the folder's last checkpoint; a new run is refused if the folder holds one already.
 *
 * @example
 * ```ts
 * import { data, devices, local, models, optim, train } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const folder = await Deno.makeTempDir();
 * await using device = await devices.open("cpu");
 * using trainer = await local.trainer({
 *   device,
 *   model: models.resnet8({ classes: 10 }),
 *   method: local.endToEnd(),
 *   optimizer: optim.sgd({ momentum: 0.9 }),
 *   batch: 16,
 * });
 * const images = data.shapes({ train: 32, test: 16 });
 * await trainer.fit(images, { epochs: 1, observers: [train.runFolder(folder)] });
 * const { snapshot } = await train.readRun(folder, "last");
 * assertEquals(snapshot.step, 2);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export function runFolder(folder: string, settings: Settings = {}): RunFolder {
  return new RunFolder(folder, settings);
}

const HOLDS_RUN = "a run already; resume it or choose another folder";
const NO_CHECKPOINT = "metrics of a run that never saved a checkpoint; remove them or choose another folder";

/** See {@link runFolder}. */
export class RunFolder implements Observer {
  /** Path of the folder. */
  readonly path: string;
  readonly #settings: Settings;
  #info: RunInfo | undefined;
  #writer: MetricsWriter | undefined;
  #lines: MetricsLine[] = [];
  /** When the run would have begun, by `performance.now()`, had it never been interrupted. */
  #began = 0;
  /** What the finished network takes some images for; undefined before. */
  #samples: Samples | undefined;
  /** True if the folder was created for this run. */
  #created = false;
  /** True once `run.json` says what this attempt does. */
  #recorded = false;
  /** True if this is the beginning of the run in the folder. */
  #begun = false;

  /** See {@link runFolder}. */
  constructor(folder: string, settings: Settings) {
    expectFolder(folder);
    this.path = folder;
    this.#settings = settings;
  }

  /** Lines of `metrics.jsonl`. */
  get lines(): readonly MetricsLine[] {
    return this.#lines;
  }
  /** Facts known at the start of the run; undefined before. */
  get info(): RunInfo | undefined {
    return this.#info;
  }

  /** Refuses a folder that holds a run already. A new run does this before it starts. */
  async refuseUsed(): Promise<void> {
    await refuseFile(this.path);
    const metrics = `${this.path}/metrics.jsonl`;
    const size = await Deno.stat(metrics).then(({ size }) => size, (): undefined => undefined);
    if (size !== undefined) (await openAlone(metrics)).close(); // refuses a run in progress, which must not be removed
    if (await exists(checkpointPath(this.path, "last"))) {
      throw new LocalgradError(`${this.path} holds ${HOLDS_RUN}`);
    }
    // Empty metrics are those of a run that was killed before it saved its start: nothing is lost with them.
    if (size !== undefined && size > 0) throw new LocalgradError(`${this.path} holds ${NO_CHECKPOINT}`);
  }

  /** Creates the folder; refuses one in use. */
  async start(info: RunInfo): Promise<void> {
    this.#info = info;
    if (!info.resumed) await this.refuseUsed();
    this.#created = !await exists(this.path);
    await makeFolder(this.path);
    const metrics = `${this.path}/metrics.jsonl`;
    const { writer, lines } = await MetricsWriter.open(metrics, info.firstStep, info.stepsPerEpoch);
    this.#writer = writer;
    this.#lines = lines;
    this.#began = performance.now() - 1000 * (secondsOf(lines) ?? 0);
    this.#recorded = false;
    this.#begun = !info.resumed || !await holdsRun(this.path);
    await removeParts(this.path);
    await removeIfThere(samplesPath(this.path)); // of the network before more training
  }

  /** Writes a step's line. */
  step(record: StepRecord): Promise<void> {
    return this.#write(stepLine(record));
  }

  /** Writes an epoch's line. */
  epoch(record: EpochRecord): Promise<void> {
    return this.#write(epochLine(record, (performance.now() - this.#began) / 1000));
  }

  /** Writes the checkpoints and the report. */
  async save(snapshot: Snapshot, kinds: readonly CheckpointKind[]): Promise<void> {
    const { writer, info } = this.#started;
    await writer.sync(); // so that the metrics never lack steps of a checkpoint
    if (!this.#recorded) await writeRecord(this.path, info, this.#settings);
    this.#recorded = true;
    for (const kind of kinds) {
      await writeCheckpoint(checkpointPath(this.path, kind), { snapshot, settings: this.#settings });
    }
    await this.#report(info);
  }

  /** Keeps the samples for the report. */
  async samples(samples: Samples): Promise<void> {
    const { info } = this.#started;
    await writeSamples(this.path, samples);
    this.#samples = samples;
    await this.#report(info);
  }

  /** Closes the files. A run that failed before its first step, such as one too large for memory, leaves none. */
  async end(reason: "done" | "stopped" | "failed" = "done"): Promise<void> {
    if (this.#writer === undefined) return;
    const { writer, info } = this.#started;
    const empty = reason === "failed" && this.#begun && this.#lines.length === 0;
    if (empty) await this.#remove();
    writer[Symbol.dispose]();
    this.#writer = undefined;
    if (!empty) await this.#report(info);
  }

  async #remove(): Promise<void> {
    for (const name of ["last.safetensors", "report.html", "metrics.jsonl"]) {
      await removeIfThere(`${this.path}/${name}`);
    }
    await removeIfThere(recordPath(this.path));
    if (this.#created) await Deno.remove(this.path).catch(() => {}); // it may hold files of others
  }

  async #write(line: MetricsLine): Promise<void> {
    const { writer } = this.#started;
    this.#lines.push(line);
    await writer.write(line);
  }

  async #report(info: RunInfo): Promise<void> {
    const run = runReport(info, this.#lines, this.#settings, this.#samples);
    await writeWhole(`${this.path}/report.html`, report([run]));
  }

  /** The run in progress. */
  get #started(): { writer: MetricsWriter; info: RunInfo } {
    if (this.#writer === undefined || this.#info === undefined) {
      throw new LocalgradError(`${this.path}: the run has not started, or has ended; call start() first`);
    }
    return { writer: this.#writer, info: this.#info };
  }
}
