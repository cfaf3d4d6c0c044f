import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";
import { makeFolder, openAlone, readIfThere, refuseFile, writeAll } from "../base/files.ts";
import { refusal } from "../base/system.ts";
import { recordsUpTo, type ScalarEvent, scalarRecord, versionRecord } from "./event_file.ts";
import { evaluatedOn } from "./format.ts";
import type { EpochRecord, Observer, RunInfo, StepRecord } from "./observer.ts";

const FILE_LIMIT = 2 ** 30;

/** Files of ours in order: seconds since 1970, as TensorFlow names them, then what wrote them. */
const NAME = /^events\.out\.tfevents\.(\d{10})\.localgrad$/;

/** The event files of localgrad in a folder, in order. */
async function eventFiles(folder: string): Promise<{ path: string; seconds: number }[]> {
  await refuseFile(folder);
  const names: string[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) names.push(name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw refusal(error, `${folder} cannot be read`);
  }
  return names.sort().flatMap((name) => {
    const seconds = NAME.exec(name)?.[1];
    return seconds === undefined ? [] : [{ path: `${folder}/${name}`, seconds: Number(seconds) }];
  });
}

/** True if a run has written event files into a folder. */
export async function holdsEvents(folder: string): Promise<boolean> {
  return (await eventFiles(folder)).length > 0;
}

/**
 * An observer that writes event files for TensorBoard into a folder, such as that of the run:
 * `tensorboard --logdir runs`. Per step: `step/loss` (of several modules `step/loss/module_1` …), `step/error`,
 * `step/learning_rate`, and `step/gradient_norm` if gradients are clipped by norm. Per evaluation: `epoch/test_error`,
 * `epoch/test_loss` (or `epoch/validation_error` and `_loss`), `epoch/top_five_error`, `epoch/images_per_second`,
 * `epoch/allocated_bytes` and `epoch/resident_bytes`, and `epoch/metrics/NAME` for metrics of one's own. Both count
 * training steps, so that their curves have one axis.
 *
 * Each attempt of a run writes a file. When a run is resumed, the steps that it will do again are cut off from the
 * files of earlier attempts; reload TensorBoard if it is open. A new run needs a folder without event files of another.
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
 * await trainer.fit(images, { epochs: 1, observers: [train.tensorBoard(folder)] });
 * const [file] = [...Deno.readDirSync(folder)];
 * assertEquals(file.name.startsWith("events.out.tfevents."), true);
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export function tensorBoard(folder: string): Observer {
  expectKind("tensorBoard: the folder", folder, "string");
  if (folder === "") throw new LocalgradError("tensorBoard: the path of the folder is empty");
  return new TensorBoard(folder);
}

class TensorBoard implements Observer {
  readonly #folder: string;
  #info!: RunInfo;
  #path = "";
  /** Opened with the first record, so that a run that fails before leaves nothing. */
  #file: Deno.FsFile | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async start(info: RunInfo): Promise<void> {
    this.#info = info;
    const files = await eventFiles(this.#folder);
    for (const { path } of files) await cut(path, info);
    // In the name's order even if the clock went back: TensorBoard reads files in that order.
    const seconds = Math.max(Math.floor(Date.now() / 1000), (files.at(-1)?.seconds ?? 0) + 1);
    this.#path = `${this.#folder}/events.out.tfevents.${String(seconds).padStart(10, "0")}.localgrad`;
  }

  async step(record: StepRecord): Promise<void> {
    const { step, losses, accuracy, meanSquaredError = NaN, learningRate, gradientNorms } = record;
    await this.#write(step, [
      ...perModule("step/loss", losses),
      accuracy === undefined ? ["step/mean_squared_error", meanSquaredError] : ["step/error", 1 - accuracy],
      ["step/learning_rate", learningRate],
      ...perModule("step/gradient_norm", gradientNorms ?? []),
    ]);
  }

  async epoch(record: EpochRecord): Promise<void> {
    const { epoch, testError, testLoss, meanIoU, topFiveError, imagesPerSecond, held, metrics = {} } = record;
    const { staleness } = record;
    const { meanSquaredError, meanAbsoluteError } = record;
    const kind = evaluatedOn(this.#info);
    const measured: [string, number | undefined][] = [
      [`epoch/${kind}_error`, meanSquaredError === undefined ? testError : undefined],
      [`epoch/${kind}_mean_squared_error`, meanSquaredError],
      [`epoch/${kind}_mean_absolute_error`, meanAbsoluteError],
      [`epoch/${kind}_loss`, testLoss],
      ["epoch/mean_iou", meanIoU],
      ["epoch/top_five_error", topFiveError],
      ["epoch/images_per_second", imagesPerSecond],
      ["epoch/allocated_bytes", held.bytes],
      ["epoch/resident_bytes", held.residentBytes],
      ["epoch/staleness", staleness?.mean],
      ["epoch/staleness_most", staleness?.most],
      ...Object.entries(metrics).map(([name, value]): [string, number] => [`epoch/metrics/${name}`, value]),
    ];
    const scalars = measured.flatMap(([tag, value]): [string, number][] =>
      value === undefined ? [] : [[tag, value]]
    );
    await this.#write(epoch * this.#info.stepsPerEpoch, scalars);
  }

  end(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  async #write(step: number, scalars: ScalarEvent["scalars"]): Promise<void> {
    const wallTime = Date.now() / 1000;
    try {
      if (this.#file === undefined) {
        await makeFolder(this.#folder);
        this.#file = await openAlone(this.#path);
        await writeAll(this.#file, versionRecord(wallTime));
      }
      await writeAll(this.#file, scalarRecord({ step, wallTime, scalars }));
    } catch (error) {
      throw refusal(error, `${this.#path} cannot be written`);
    }
  }
}

/** Values of modules with their tags; one module needs no number. */
function perModule(tag: string, values: readonly number[]): [string, number][] {
  return values.map((value, i) => [values.length === 1 ? tag : `${tag}/module_${i + 1}`, value]);
}

/** Cuts off the steps of a file that a resumed run will do again: steps must rise, or TensorBoard drops points. */
async function cut(path: string, { resumed, firstStep }: RunInfo): Promise<void> {
  const bytes = await readIfThere(path, FILE_LIMIT);
  if (bytes === undefined) return;
  if (!resumed && recordsUpTo(bytes, Infinity).steps > 0) {
    throw new LocalgradError(
      `${path} has events of another run; choose another folder, or remove the file`,
    );
  }
  const { end } = recordsUpTo(bytes, firstStep);
  if (end === bytes.length) return;
  using file = await openAlone(path);
  await file.truncate(end);
}
