/** What the examples print and leave in files, as figures. */

import { readMetrics } from "../../src/artifacts/metrics.ts";
import { encodePng } from "../../src/artifacts/png.ts";
import { readSamples } from "../../src/artifacts/samples.ts";
import { readReport } from "../../src/artifacts/run_record.ts";
import { decodeSafetensors } from "../../src/artifacts/safetensors.ts";
import { thin } from "../../src/artifacts/chart.ts";
import { pictures } from "../../src/data/folder/pictures.ts";
import type { Bar, Curve, Tile } from "./draw.ts";

type Points = Curve["points"];

/** The rows that `examples/memory_limit.ts` prints. */
export function rowsOf(output: string): Bar[] {
  return [...output.matchAll(/^(.+?) +(\d+) MiB {2}(fits|too large)$/gm)].map((
    [, name = "", mebibytes, fits],
  ) => ({ name, mebibytes: Number(mebibytes), fits: fits === "fits" }));
}

/** The losses of each module in lines such as `step 21: loss 1.2345` and `epoch 1: losses 1.2345 0.9876, …`. */
export function printedLosses(output: string): Points[] {
  const lines = [...output.matchAll(/^(?:step|epoch) (\d+): loss(?:es)? ([\d. ]+)/gm)].map((
    [, at, losses = ""],
  ) => ({ at: Number(at), losses: losses.trim().split(" ").map(Number) }));
  const count = lines[0]?.losses.length ?? 0;
  return Array.from(
    { length: count },
    (_, i) => lines.map(({ at, losses }) => [at, losses[i] ?? NaN] as const),
  );
}

/** The figures of each name in lines such as `stream, epoch 5: mean absolute error 0.1234` or `man+greedy, step 50: 3.2 bits`. */
export function printedErrors(output: string): Curve[] {
  const points = new Map<string, [number, number][]>();
  for (
    const [, name = "", epoch, error] of output.matchAll(
      /^([\w+]+), (?:epoch|step) (\d+): (?:mean absolute error )?([\d.]+)(?: bits a byte in training)?$/gm,
    )
  ) {
    points.set(name, [...points.get(name) ?? [], [Number(epoch), Number(error)]]);
  }
  return [...points].map(([name, points]) => ({ name, points }));
}

/** The losses of each module of a run, thinned, and its test error after each epoch. */
export async function metricsOf(run: string): Promise<{ losses: Points[]; errors: Points }> {
  const lines = await readMetrics(`${run}/metrics.jsonl`);
  const steps = lines.flatMap((line) => line.kind === "step" ? [line] : []);
  const count = steps[0]?.losses.length ?? 0;
  return {
    losses: Array.from(
      { length: count },
      (_, i) => thin(steps.map(({ step, losses }) => [step, losses[i] ?? NaN] as const), 32),
    ),
    errors: lines.flatMap((line) => line.kind === "epoch" ? [[line.epoch, line.testError] as const] : []),
  };
}

/** Some pictures of a run's report with what they were taken for: a third of them mistakes, if there are so many. */
export async function samplesOf(run: string, count: number): Promise<Tile[]> {
  const [samples, { info: { classNames = [] } }] = await Promise.all([readSamples(run), readReport(run)]);
  const wrong = samples?.wrong.slice(0, count / 3) ?? [];
  const right = samples?.right.slice(0, count - wrong.length) ?? [];
  await using decoder = pictures({ threads: 1 });
  const reduced = async (png: string) => {
    const pixels = await decoder.decode(new Blob([Uint8Array.fromBase64(png)]), { height: 32, width: 32 });
    return (await encodePng(pixels, 32, 32, 3)).toBase64();
  };
  return await Promise.all([...right, ...wrong].map(async ({ png, label, predicted, probability }) => ({
    png: await reduced(png),
    lines: [
      `${classNames[predicted]} ${(100 * probability).toFixed(0)} %`,
      ...label === predicted ? [] : [`is ${classNames[label]}`],
    ],
    right: label === predicted,
  })));
}

/** The filters of a convolution of RGB images in an exported file, each as a PNG in base64. */
export async function firstFilters(path: string, name: string): Promise<{ png: string }[]> {
  const { tensors } = decodeSafetensors(await Deno.readFile(path), path);
  const filters = tensors.get(name);
  if (filters === undefined) throw new Error(`${path} has no ${name}`);
  const [count = 0, channels = 0, height = 0, width = 0] = filters.shape;
  const most = Math.max(...Array.from(filters.data, Math.abs));
  const result: { png: string }[] = [];
  for (let filter = 0; filter < count; filter++) {
    const pixels = new Uint8Array(height * width * channels);
    for (let i = 0; i < pixels.length; i++) {
      const at = (filter * channels + i % channels) * height * width + Math.floor(i / channels);
      pixels[i] = Math.round(127.5 * (1 + (filters.data[at] ?? 0) / most));
    }
    result.push({ png: (await encodePng(pixels, height, width, 3)).toBase64() });
  }
  return result;
}
