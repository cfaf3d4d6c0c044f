import type { EpochRecord, Observer, RunInfo, StepRecord } from "../local/observer.ts";
import { formatPercent, formatTime } from "./format.ts";

/** Where progress is shown; the process's standard error by default. */
export interface ProgressOutput {
  /** Whether lines can be drawn over. */
  readonly terminal: boolean;
  /** Columns of the terminal. */
  columns(): number;
  /** Shows text. */
  write(text: string): void;
  /** Milliseconds since some moment. */
  now(): number;
}

const standardError: ProgressOutput = {
  terminal: Deno.stderr.isTerminal(),
  columns() {
    try {
      return Deno.consoleSize().columns;
    } catch { // neither input, output nor error is a terminal
      return 80;
    }
  },
  write(text) {
    const bytes = new TextEncoder().encode(text);
    for (let written = 0; written < bytes.length;) written += Deno.stderr.writeSync(bytes.subarray(written));
  },
  now: () => performance.now(),
};

const REDRAW_MS = 100;
const LINE_MS = 15_000;
const BAR = 20;

/**
 * An observer that shows how a run goes on, on standard error: a bar with the loss of each module, accuracy, images
 * per second and time left, drawn over itself where there is a terminal, else a line now and then; and a line for each
 * epoch.
 */
export function progress(output: ProgressOutput = standardError): Observer {
  return new Progress(output);
}

class Progress implements Observer {
  readonly #output: ProgressOutput;
  #info!: RunInfo;
  #shown = -Infinity;
  #drawn = false;
  /** When the first step of this epoch was seen, and how many there have been of it and of all since. */
  #epochStart = 0;
  #epochSteps = 0;
  #epochImages = 0;
  #runStart = 0;
  #runSteps = 0;
  #losses: readonly number[] = [];
  #right = 0;

  constructor(output: ProgressOutput) {
    this.#output = output;
  }

  start(info: RunInfo): void {
    this.#info = info;
    this.#runStart = this.#epochStart = this.#shown = this.#output.now();
  }

  step(record: StepRecord): void {
    this.#epochSteps++;
    this.#runSteps++;
    this.#epochImages += record.images;
    this.#right += record.accuracy * record.images;
    // A running mean: the loss of one batch jumps about.
    const weight = 1 / Math.min(this.#epochSteps, 20);
    this.#losses = record.losses.map((loss, i) =>
      this.#epochSteps === 1 ? loss : this.#losses[i] + weight * (loss - this.#losses[i])
    );
    const now = this.#output.now();
    if (now - this.#shown < (this.#output.terminal ? REDRAW_MS : LINE_MS)) return;
    this.#shown = now;
    this.#show(record, now);
  }

  epoch({ epoch, testError, best, imagesPerSecond }: EpochRecord): void {
    const { epochs } = this.#info;
    const mark = best ? ", the best so far" : "";
    const accuracy = this.#epochImages > 0
      ? `  accuracy ${formatPercent(this.#right / this.#epochImages)}`
      : "";
    const line = `epoch ${epoch}/${epochs}  loss ${lossesText(this.#losses)}${accuracy}  ` +
      `test error ${formatPercent(testError)}${mark}  ${Math.round(imagesPerSecond)} images/s`;
    this.#line(line);
    this.#epochSteps = this.#epochImages = this.#right = 0;
    this.#epochStart = this.#output.now();
  }

  end(reason: "done" | "stopped" | "failed"): void {
    if (this.#drawn) this.#line("");
    if (reason === "stopped") this.#line("stopped");
  }

  #show({ step, epoch }: StepRecord, now: number): void {
    const { epochs, stepsPerEpoch } = this.#info;
    const at = step - (epoch - 1) * stepsPerEpoch;
    const rate = this.#epochImages / Math.max(now - this.#epochStart, 1) * 1000;
    const left = (now - this.#runStart) / this.#runSteps * (epochs * stepsPerEpoch - step) / 1000;
    const filled = Math.round(at / stepsPerEpoch * BAR);
    const bar = "█".repeat(filled) + "░".repeat(BAR - filled);
    const text =
      `epoch ${epoch}/${epochs} ${bar} ${at}/${stepsPerEpoch}  loss ${lossesText(this.#losses)}  ` +
      `accuracy ${formatPercent(this.#right / this.#epochImages)}  ${Math.round(rate)} images/s  ` +
      `${formatTime(left)} left`;
    if (!this.#output.terminal) return this.#line(text);
    this.#output.write(`\r\x1b[2K${text.slice(0, this.#output.columns() - 1)}`);
    this.#drawn = true;
  }

  #line(text: string): void {
    if (this.#drawn) this.#output.write("\r\x1b[2K");
    this.#drawn = false;
    if (text !== "") this.#output.write(`${text}\n`);
  }
}

/** The losses of all modules; of many, the first ones and the last. */
function lossesText(losses: readonly number[]): string {
  const texts = losses.map((loss) => loss.toFixed(3));
  return texts.length <= 6
    ? texts.join(" ")
    : `${texts.slice(0, 3).join(" ")} … ${texts.slice(-2).join(" ")}`;
}
