import { LocalgradError } from "../../src/base/errors.ts";
import { Random } from "./random.ts";

/** A reader to be fuzzed. Each file of `targets/` exports a function `target`, which is given an empty folder. */
export interface Target {
  /** Makes a damaged input from valid ones. */
  input(random: Random): Uint8Array<ArrayBuffer>;
  /** Reads it, and uses the result; may throw nothing but a LocalgradError. */
  read(input: Uint8Array<ArrayBuffer>): unknown;
  /** Frees the target's resources, such as threads. */
  end?(): void | Promise<void>;
  /** The time limit of an input; default 5 s. */
  readonly milliseconds?: number;
  /** The most that resident memory may grow; default 512 MiB. */
  readonly bytes?: number;
}

/** Makes a target with an empty `folder` for its files. */
export type MakeTarget = (folder: string) => Target | Promise<Target>;

/** A forbidden result of an input. */
export interface Fault {
  /** The index of the input. */
  readonly index: number;
  readonly why: string;
}

/** The results of a target's inputs. */
export interface Counts {
  readonly inputs: number;
  readonly accepted: number;
  readonly refused: number;
  /** The number of inputs with a forbidden result. */
  readonly raw: number;
  /** The first of each kind. */
  readonly faults: readonly Fault[];
  /** The time of the slowest, in milliseconds. */
  readonly slowest: number;
  /** The growth of resident memory, in bytes. */
  readonly growth: number;
  readonly seconds: number;
}

/** The inputs to make. */
export interface Selection {
  readonly seed: number;
  /** The index of the first. */
  readonly from: number;
  /** The number of inputs. */
  readonly inputs: number;
  /** A time limit; at least a hundred inputs are read even so. */
  readonly seconds?: number;
  /** Called before each input is read. */
  readonly begin?: (index: number) => void;
}

const MIB = 2 ** 20;

/** Reads damaged inputs and counts their results. */
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

/** Describes a foreign error and the place where it was thrown. */
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
