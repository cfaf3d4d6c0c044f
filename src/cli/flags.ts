import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import { levenshteinDistance } from "npm:deno-std@1.4.0/text/levenshtein_distance.js";
import { LocalgradError } from "../base/errors.ts";

/** What a flag of the command line takes. */
export interface Flag {
  /** What follows it, for the help: `N`, `DIR`, or the choices joined by `|`; a flag without one is a switch. */
  readonly value?: string;
  /** What it does, for the help. */
  readonly help: string;
}

/** The flags of a command, by their names without the dashes. */
export type Flags = { readonly [name: string]: Flag };

/** What was given: text for a flag with a value, true for a switch, undefined for one left out. */
export type Given<F extends Flags> = {
  readonly [N in keyof F]?: F[N] extends { readonly value: string } ? string : true;
};

/**
 * Reads a command's flags.
 *
 * @throws {LocalgradError} on a flag it does not have, one given twice or without its value, or any other word.
 */
export function parseFlags<F extends Flags>(command: string, flags: F, args: readonly string[]): Given<F> {
  const names = Object.keys(flags);
  const withValue = names.filter((name) => flags[name].value !== undefined);
  const switches = names.filter((name) => flags[name].value === undefined);
  const parsed = parseArgs([...args], {
    string: withValue,
    boolean: switches,
    collect: withValue,
    unknown(word: string) {
      const listed = names.length === 0 ? "none" : names.map((name) => `--${name}`).join(", ");
      if (word === "") throw new LocalgradError(`an empty word was given; ${command} takes none`);
      if (/^-[0-9.]/.test(word)) {
        throw new LocalgradError(`no flag of ${command} takes the negative number ${word}`);
      }
      throw new LocalgradError(
        word.startsWith("-")
          ? `${command} has no flag ${word.replace(/=.*/, "")}; its flags: ${listed}${meant(word, names)}`
          : `${command} takes no word "${word}"; its flags: ${listed}`,
      );
    },
  });
  const given: { [name: string]: string | true } = {};
  for (const name of withValue) {
    const values = parsed[name] as string[];
    if (values.length === 0) continue;
    if (values.length > 1) {
      throw new LocalgradError(`--${name} is given ${values.length} times; give it once`);
    }
    if (values[0] === "") throw new LocalgradError(`--${name} needs a value: --${name} ${flags[name].value}`);
    given[name] = values[0];
  }
  for (const name of switches) {
    if (parsed[name] === true) given[name] = true;
  }
  return given as Given<F>;
}

const LONG = 44;

/** The help of a command. */
export function usage(command: string, summary: string, flags: Flags): string {
  const heads = Object.entries(flags).map(([name, { value }]) => `--${name}${value ? ` ${value}` : ""}`);
  // A long list of choices has a line of its own, above what it is for.
  const width = Math.max(0, ...heads.map((head) => head.length).filter((length) => length <= LONG));
  const lines = Object.values(flags).map(({ help }, i) => {
    const head = heads[i].length > LONG ? `${heads[i]}\n  ${"".padEnd(width)}` : heads[i].padEnd(width);
    return `  ${head}  ${help}`;
  });
  return [`deno task ${command}: ${summary}`, "", ...lines].join("\n");
}

/** A flag's value as a whole number of at least `least`. */
export function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
    throw new LocalgradError(`--${name} must be a whole number of at least ${least}, not "${text}"`);
  }
  return value;
}

/** A flag's value as a number above 0. */
export function positiveNumber(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value <= 0) {
    throw new LocalgradError(`--${name} must be a number above 0, not "${text}"`);
  }
  return value;
}

/** A flag's value as one of some names. */
export function oneOf<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) {
    throw new LocalgradError(`--${name} must be one of ${choices.join(", ")}, not "${text}"`);
  }
  return found;
}

/** The flag that was probably meant, where one differs by a letter or two. */
function meant(word: string, names: readonly string[]): string {
  const given = word.replace(/^-+/, "").replace(/=.*/, "");
  const distance = (name: string) => levenshteinDistance(given, name);
  const [nearest] = names.toSorted((a, b) => distance(a) - distance(b));
  if (nearest === undefined || distance(nearest) > Math.min(2, given.length / 2)) return "";
  return `; did you mean --${nearest}?`;
}
