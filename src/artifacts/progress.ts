import { errorOf, evaluatedOn, formatPercent, formatTime, formatValue, isRegression } from "./format.ts";
import type { BlockAge, EpochRecord, Loading, Observer, RunInfo, StepRecord } from "./observer.ts";
import { kernel, notebookOutput } from "./notebook.ts";
import type { ProgressOutput } from "./progress_output.ts";
import { changeOfDevice } from "./run_devices.ts";
import { columns, drawsOver } from "./terminal.ts";

export type { ProgressOutput };

const standardError: ProgressOutput = {
  terminal: drawsOver(),
  columns: () => columns() ?? 80,
  write(text) {
    const bytes = new TextEncoder().encode(text);
    try {
      for (let written = 0; written < bytes.length;) {
        written += Deno.stderr.writeSync(bytes.subarray(written));
      }
    } catch { // the reader has gone, such as a pager that was closed; the run continues without it
    }
  },
  now: () => performance.now(),
};

const REDRAW_MS = 100;
const LINE_MS = 15_000;
const BAR = 20;

/**
 * An observer that shows the progress of a run on standard error: a bar with the loss of each module, accuracy (of a
 * regression the mean squared error), images
 * per second and time left, redrawn in place on a terminal and written as a line every 15 s elsewhere; and a line for
 * each evaluation. In a Jupyter notebook it is shown in the cell. It warns at the start if there are fewer training
 * images than a batch has, if the warm-up of the learning rate is longer than the run, or if the run is resumed on
 * another device, engine of the CPU or version of oneDNN, with which its last bits differ.
 */
export function progress(output: ProgressOutput = notebookOutput(kernel()) ?? standardError): Observer {
  return new Progress(output);
}

class Progress implements Observer {
  readonly #output: ProgressOutput;
  #info!: RunInfo;
  #shown = -Infinity;
  #drawn = false;
  #epoch = 0;
  /** Steps and images of this epoch, and the correctly classified ones, or the sum of squared errors of a regression. */
  #steps = 0;
  #images = 0;
  #score = 0;
  /** Running means, because the loss varies from batch to batch. */
  #losses: readonly number[] = [];
  /** Steps and images after the run's first step, whose time is mostly compilation. */
  #timed = { since: 0, steps: 0, images: 0 };
  #begun = false;

  constructor(output: ProgressOutput) {
    this.#output = output;
  }

  start(info: RunInfo): void {
    this.#info = info;
    this.#shown = this.#output.now();
    const { configuration: { batch }, imagesPerEpoch, devices = [], firstStep, remarks = [] } = info;
    const change = changeOfDevice(devices, firstStep);
    if (change !== undefined) this.#line(change);
    for (const remark of remarks) this.#line(remark);
    if (Number(batch) <= imagesPerEpoch) return;
    const smaller = Math.max(2, 2 ** Math.floor(Math.log2(imagesPerEpoch / 4)));
    this.#line(
      `the batch of ${batch} is more than the ${imagesPerEpoch} training images, so each epoch is a single step of ` +
        `${imagesPerEpoch}; with a smaller batch, such as ${smaller}, the network is updated more often`,
    );
  }

  step(record: StepRecord): void {
    const now = this.#output.now();
    if (record.epoch !== this.#epoch) this.#steps = this.#images = this.#score = 0;
    this.#epoch = record.epoch;
    this.#steps++;
    this.#images += record.images;
    this.#score += (record.accuracy ?? record.meanSquaredError ?? 0) * record.images;
    const weight = 1 / Math.min(this.#steps, 20);
    this.#losses = record.losses.map((loss, i) => {
      const mean = this.#steps === 1 ? undefined : this.#losses[i];
      return mean === undefined ? loss : mean + weight * (loss - mean);
    });
    if (this.#begun) {
      this.#timed.steps++;
      this.#timed.images += record.images;
    } else this.#timed.since = now;
    this.#begun = true;
    if (now - this.#shown < (this.#output.terminal ? REDRAW_MS : LINE_MS)) return;
    this.#shown = now;
    this.#show(record, now);
  }

  epoch({ epoch, testError, meanIoU, best, imagesPerSecond, loading, staleness }: EpochRecord): void {
    const mark = best ? ", the best so far" : "";
    const score = this.#images > 0 ? `${this.#scoreText()}  ` : "";
    const error = errorOf(this.#info.configuration);
    // The speed is 0 if the only step was the one that compiles.
    const speed = imagesPerSecond > 0 ? `  ${Math.round(imagesPerSecond)} images/s` : "";
    this.#line(
      `epoch ${epoch}/${this.#info.epochs}  loss ${lossesText(this.#losses)}  ${score}` +
        `${evaluatedOn(this.#info)} ${error.name} ${error.format(testError)}` +
        (meanIoU === undefined ? "" : `  mean IoU ${formatPercent(meanIoU)}`) + mark + speed +
        (loading === undefined ? "" : `, ${loadingText(loading)}`) +
        (staleness === undefined ? "" : `, ${ageText(staleness)}`),
    );
  }

  end(): void {
    if (this.#drawn) this.#line("");
  }

  #show({ step, epoch }: StepRecord, now: number): void {
    const { epochs, stepsPerEpoch } = this.#info;
    const at = step - (epoch - 1) * stepsPerEpoch;
    const { since, steps, images } = this.#timed;
    const seconds = Math.max(now - since, 1) / 1000;
    const speed = steps === 0 ? "" : `  ${Math.round(images / seconds)} images/s  ` +
      `${formatTime(seconds / steps * (epochs * stepsPerEpoch - step))} left`;
    const filled = Math.round(at / stepsPerEpoch * BAR);
    const bar = "█".repeat(filled) + "░".repeat(BAR - filled);
    const text =
      `epoch ${epoch}/${epochs} ${bar} ${at}/${stepsPerEpoch}  loss ${lossesText(this.#losses)}  ` +
      `${this.#scoreText()}${speed}`;
    if (!this.#output.terminal) return this.#line(text);
    this.#output.write(`\r\x1b[2K${text.slice(0, Math.max(0, this.#output.columns() - 1))}`);
    this.#drawn = true;
  }

  /** The accuracy of this epoch, or the mean squared error of a regression. */
  #scoreText(): string {
    const mean = this.#score / this.#images;
    return isRegression(this.#info.configuration)
      ? `mean squared error ${formatValue(mean)}`
      : `accuracy ${formatPercent(mean)}`;
  }

  #line(text: string): void {
    if (this.#drawn) this.#output.write("\r\x1b[2K");
    this.#drawn = false;
    if (text !== "") this.#output.write(`${text}\n`);
  }
}

/** The speed of decoding, and the time training waited for it. */
/** The age of the blocks that MAN tracked, for people. */
function ageText({ mean, most }: BlockAge): string {
  return `tracked blocks ${mean.toFixed(1)} steps old, at most ${most}`;
}

function loadingText({ imagesPerSecond, waiting }: Loading): string {
  return `${formatPercent(waiting, 1)} of the time waiting for images, ${
    Math.round(imagesPerSecond)
  }/s decoded`;
}

/** The losses of all modules; of more than six, the first three and the last two. */
function lossesText(losses: readonly number[]): string {
  const texts = losses.map((loss) => loss.toFixed(3));
  return texts.length <= 6
    ? texts.join(" ")
    : `${texts.slice(0, 3).join(" ")} … ${texts.slice(-2).join(" ")}`;
}
