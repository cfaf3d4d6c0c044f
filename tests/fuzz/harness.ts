import { LocalgradError } from "../../src/base/errors.ts";
import { Random } from "./random.ts";

/** A reader to be fuzzed. Each file of `targets/` exports a function `target`, which is given an empty folder. */
export interface Target {
  /** A damaged input, made of valid ones. */
  input(random: Random): Uint8Array<ArrayBuffer>;
  /** Reads it, and uses what was read. Only a LocalgradError may come of it. */
  read(input: Uint8Array<ArrayBuffer>): unknown;
  /** Ends what the target began, such as threads. */
  end?(): void | Promise<void>;
  /** The longest that an input may take; default 5 s. */
  readonly milliseconds?: number;
  /** How far resident memory may grow; default 512 MiB. */
  readonly bytes?: number;
}

/** Makes a target; `folder` is an empty one of its own. */
export type MakeTarget = (folder: string) => Target | Promise<Target>;

/** What came of an input that must not. */
export interface Fault {
  /** Which input it was. */
  readonly index: number;
  readonly why: string;
}

/** What came of a target's inputs. */
export interface Counts {
  readonly inputs: number;
  readonly accepted: number;
  readonly refused: number;
  /** How many came to something else. */
  readonly raw: number;
  /** The first of each kind of those. */
  readonly faults: readonly Fault[];
  /** The longest that one took. */
  readonly slowest: number;
  /** How far resident memory grew, in bytes. */
  readonly growth: number;
  readonly seconds: number;
}

/** Which inputs to make. */
export interface Selection {
  readonly seed: number;
  /** The index of the first. */
  readonly from: number;
  /** How many, */
  readonly inputs: number;
  /** or as many of those as this time allows, but a hundred. */
  readonly seconds?: number;
  /** Told of each before it is read. */
  readonly begin?: (index: number) => void;
}

const MIB = 2 ** 20;

/** Reads so many damaged inputs, and counts what comes of them. */
export async function fuzz(name: string, make: MakeTarget, selection: Selection): Promise<Counts> {
  const folder = await Deno.makeTempDir({ prefix: "localgrad-fuzz-" });
  const target = await make(folder);
  try {
    return await count(name, target, selection);
  } finally {
    await target.end?.();
    await Deno.remove(folder, { recursive: true });
  }
}

async function count(
  name: string,
  target: Target,
  { seed, from, inputs, seconds, begin }: Selection,
): Promise<Counts> {
  const { milliseconds = 5000, bytes = 512 * MIB } = target;
  const kinds = new Map<string, Fault>();
  let [done, accepted, refused, raw, slowest, growth] = [0, 0, 0, 0, 0, 0];
  const before = Deno.memoryUsage().rss;
  const began = performance.now();
  const elapsed = () => (performance.now() - began) / 1000;
  const fault = (index: number, why: string) => {
    const kind = why.replace(/[0-9]+/g, "#").slice(0, 200);
    if (kinds.size < 20 && !kinds.has(kind)) kinds.set(kind, { index, why });
    raw++;
  };
  for (; done < inputs && (seconds === undefined || done < 100 || elapsed() < seconds); done++) {
    const index = from + done;
    const input = target.input(new Random(seed, name, index));
    begin?.(index);
    const start = performance.now();
    try {
      await target.read(input);
      accepted++;
    } catch (error) {
      if (!(error instanceof LocalgradError)) fault(index, described(error));
      else {
        refused++;
        const { length } = error.message;
        if (length > 2000) fault(index, `a message of ${length} characters: ${error.message.slice(0, 200)}`);
        if (error.message.includes("\n")) fault(index, `a message of several lines: ${error.message}`);
      }
    }
    const took = performance.now() - start;
    slowest = Math.max(slowest, took);
    if (took > milliseconds) fault(index, `it took ${Math.round(took)} ms, more than ${milliseconds}`);
    if (done % 64 === 0) growth = Math.max(growth, Deno.memoryUsage().rss - before);
  }
  if (growth > bytes) fault(from, `memory grew by ${Math.round(growth / MIB)} MiB, more than ${bytes / MIB}`);
  return {
    inputs: done,
    accepted,
    refused,
    raw,
    faults: [...kinds.values()],
    slowest,
    growth,
    seconds: elapsed(),
  };
}

/** An error that is none of ours, with where it came from. */
function described(error: unknown): string {
  if (!(error instanceof Error)) return `${typeof error} ${String(error)} was thrown`;
  const place = /\(?(file:[^)\s]+)\)?/.exec(error.stack ?? "")?.[1].replace(/^.*\/(src|tests)\//, "$1/") ??
    "?";
  return `${error.name}: ${error.message.slice(0, 200)} at ${place}`;
}

/** The names of all targets. */
export function targetNames(): string[] {
  return [...Deno.readDirSync(new URL("targets", import.meta.url))]
    .map(({ name }) => name.replace(/\.ts$/, "")).sort();
}

/** A target by its name. */
export async function targetNamed(name: string): Promise<MakeTarget> {
  return (await import(`./targets/${name}.ts`)).target;
}
