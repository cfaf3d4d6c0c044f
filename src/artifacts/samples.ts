import { decodeJson, type Decoder, list, number, object, oneOf, text, whole } from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import { readIfThere, writeWhole } from "../base/files.ts";
import { escapeHtml } from "./chart.ts";
import { formatPercent } from "./format.ts";

const FORMAT = 1;
const FILE_LIMIT = 2 ** 27;

/** An image that a trained network was shown, and what it took it for. */
export interface Sample {
  /** Its class, by number. */
  readonly label: number;
  /** The class that the network takes it for. */
  readonly predicted: number;
  /** The probability of that class. */
  readonly probability: number;
  /** The image, perhaps reduced, as a PNG in base64. */
  readonly png: string;
}

/** Images that a trained network was shown, as a report shows them. */
export interface Samples {
  /** The kind of images. */
  readonly of: "test" | "validation";
  /** The number of images they were chosen from, the first ones. */
  readonly among: number;
  /** Those taken for another class, the most confident first. */
  readonly wrong: readonly Sample[];
  /** Some of those recognised, of each class in turn. */
  readonly right: readonly Sample[];
}

const png: Decoder<string> = (value, at) => {
  const base64 = text(value, at);
  if (/^[A-Za-z0-9+/]+=*$/.test(base64)) return base64;
  throw at.wrong(value, "a PNG in base64");
};

const sample = object<Sample>({ label: whole(), predicted: whole(), probability: number, png });

const fields = object<Samples & { readonly format: number }>({
  format: whole(1),
  of: oneOf(["test", "validation"]),
  among: whole(),
  wrong: list(sample),
  right: list(sample),
});

/** Path of the samples in the folder of a run. */
export const samplesPath = (folder: string) => `${folder}/samples.json`;

/** Writes samples into the folder of a run, atomically. */
export async function writeSamples(folder: string, samples: Samples): Promise<void> {
  await writeWhole(samplesPath(folder), JSON.stringify({ format: FORMAT, ...samples }));
}

/** Reads the samples of a run; undefined if it has none. */
export async function readSamples(folder: string): Promise<Samples | undefined> {
  const path = samplesPath(folder);
  const bytes = await readIfThere(path, FILE_LIMIT);
  if (bytes === undefined) return undefined;
  const source = { file: path, remedy: "remove the file to have a report without pictures" };
  const { format } = decodeJson(bytes, source, object({ format: whole(1) }));
  if (format > FORMAT) {
    throw new LocalgradError(`${path} has format ${format}; this localgrad reads formats up to ${FORMAT}`);
  }
  const { format: _, ...samples } = decodeJson(bytes, source, fields);
  return samples;
}

/** Samples as HTML: the most confident errors, then images that were recognised. */
export function samplesSection(samples: Samples, names: readonly string[] = []): string {
  const { of, among, wrong, right } = samples;
  const nameOf = (label: number) => names[label] ?? String(label);
  const figures = (title: string, chosen: readonly Sample[]) =>
    chosen.length === 0
      ? ""
      : `<h3>${title}</h3><ul class="samples">${
        chosen.map((sample) => figure(sample, nameOf)).join("\n")
      }</ul>`;
  return `<h2>Predictions</h2><p>Chosen from the first ${among.toLocaleString("en-US")} ${of} images.</p>
${figures("Most confident errors", wrong)}${figures("Recognised", right)}`;
}

function figure({ label, predicted, probability, png }: Sample, nameOf: (label: number) => string): string {
  const kind = label === predicted ? "right" : "wrong";
  const truth = escapeHtml(nameOf(label));
  const taken = escapeHtml(nameOf(predicted));
  return `<li class="${kind}"><img src="data:image/png;base64,${png}" alt="${truth}"><b>${taken} ${
    escapeHtml(formatPercent(probability, 0))
  }</b>${kind === "right" ? "" : `<span>is ${truth}</span>`}</li>`;
}
