import { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
import { LocalgradError } from "../../base/errors.ts";
import { nearest } from "../../base/option_names.ts";

/** A flag of the command line. */
export interface Flag {
  /** Its value in the help: `N`, `DIR`, or the choices joined by `|`; a flag without one is a switch. */
  readonly value?: string;
  /** Its description in the help. */
  readonly help: string;
}

/** The flags of a command, by name without the dashes. */
export type Flags = { readonly [name: string]: Flag };

/** The flags given: text for a flag with a value, true for a switch, undefined for one that is absent. */
export type Given<F extends Flags> = {
  readonly [N in keyof F]?: F[N] extends { readonly value: string } ? string : true;
};

/**
 * Parses the flags of a command.
 *
 * @param operands Receives arguments that are not flags, such as files; without it there may be none.
 * @throws {LocalgradError} on an unknown flag, a flag given twice or without its value, a switch with a value, or any
 * other argument.
 */
export function parseFlags<F extends Flags>(
  command: string,
  flags: F,
  args: readonly string[],
  operands?: string[],
): Given<F> {
  const names = Object.keys(flags);
  const withValue = Object.entries(flags).flatMap(([name, { value }]) =>
    value === undefined ? [] : [[name, value] as const]
  );
  const named = withValue.map(([name]) => name);
  const switches = names.filter((name) => !named.includes(name));
  const valued = switches.find((name) => args.some((arg) => arg.startsWith(`--${name}=`)));
  if (valued !== undefined) throw new LocalgradError(`--${valued} takes no value; leave "=…" out`);
  const parsed = parseArgs([...args], {
    string: named,
    boolean: switches,
    collect: named,
    unknown(word: string) {
      const listed = names.length === 0 ? "none" : names.map((name) => `--${name}`).join(", ");
      if (operands !== undefined && word !== "" && !word.startsWith("-")) {
        operands.push(word);
        return;
      }
      if (word === "") throw new LocalgradError(`${command} does not take an empty argument`);
      if (/^-[0-9.]/.test(word)) {
        throw new LocalgradError(`no flag of ${command} takes a negative number (${word})`);
      }
      const flag = word.replace(/^-+/, "").replace(/=.*/, "");
      const renamed = RENAMED.find(({ old, now }) => old === flag && names.includes(now));
      if (renamed !== undefined) {
        throw new LocalgradError(`--${flag} is now --${renamed.now} (${renamed.of}); ${renamed.other}`);
      }
      throw new LocalgradError(
        word.startsWith("-")
          ? `${command} has no flag ${word.replace(/=.*/, "")}${meant(word, names)}; its flags: ${listed}`
          : `${command} does not take the argument "${word}"; its flags: ${listed}`,
      );
    },
  });
  const given: { [name: string]: string | true } = {};
  for (const [name, placeholder] of withValue) {
    const [value, ...more]: string[] = parsed[name];
    if (value === undefined) continue;
    if (more.length > 0) {
      throw new LocalgradError(`--${name} is given ${more.length + 1} times; give it once`);
    }
    if (value === "") throw new LocalgradError(`--${name} needs a value: --${name} ${placeholder}`);
    given[name] = value;
  }
  for (const name of switches) {
    if (parsed[name] === true) given[name] = true;
  }
  return given as Given<F>;
}

/** Flags of 0.1 that have another name. */
const RENAMED = [
  {
    old: "momentum",
    now: "average-decay",
    of: "the share of MAN's average that a step keeps",
    other: "the optimizer's momentum is --sgd-momentum",
  },
  {
    old: "schedule",
    now: "weight-schedule",
    of: "the loss weights of InfoPro over modules",
    other: "the learning rate's schedule is --lr-schedule",
  },
] as const;

const LONG = 44;

/** The help text of a command; `operands` are its arguments other than flags. */
export function usage(command: string, summary: string, flags: Flags, operands?: string): string {
  const entries = Object.entries(flags).map(([name, { value, help }]) => ({
    head: `--${name}${value ? ` ${value}` : ""}`,
    help,
  }));
  // A long list of choices gets a separate line above its description.
  const width = Math.max(0, ...entries.map(({ head }) => head.length).filter((length) => length <= LONG));
  const lines = entries.map(({ head, help }) =>
    `  ${head.length > LONG ? `${head}\n  ${"".padEnd(width)}` : head.padEnd(width)}  ${help}`
  );
  const head = operands === undefined ? command : `${command} ${operands}`;
  return [`deno task ${head}: ${summary}`, "", ...lines].join("\n");
}

/** The flags of a command with these values; those that are undefined or false are absent. */
export function givenAs<F extends Flags>(
  values: { readonly [N in keyof F]: string | number | boolean | undefined },
): Given<F> {
  const present = Object.entries(values).flatMap(([name, value]) =>
    value === undefined || value === false ? [] : [[name, value === true ? true : String(value)]]
  );
  return Object.fromEntries(present) as Given<F>;
}

/** Parses a flag's value as a whole number of at least `least`. */
export function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
    throw new LocalgradError(`--${name} must be a whole number of at least ${least}, not "${text}"`);
  }
  return value;
}

/** Parses a flag's value as a number above 0. */
export function positiveNumber(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value <= 0) {
    throw new LocalgradError(`--${name} must be a number above 0, not "${text}"`);
  }
  return value;
}

/** Parses a flag's value as a number of at least 0. */
export function numberFromZero(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0) {
    throw new LocalgradError(`--${name} must be a number of at least 0, not "${text}"`);
  }
  return value;
}

/** Parses a flag's value as a share: a number of at least 0 and below 1. */
export function share(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value < 1)) {
    throw new LocalgradError(`--${name} must be at least 0 and below 1, not "${text}"`);
  }
  return value;
}

/** Parses a flag's value as a part of a whole: a number above 0 and below 1. */
export function partOf(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) {
    throw new LocalgradError(`--${name} must be above 0 and below 1, not "${text}"`);
  }
  return value;
}

/** Parses a flag's value as one of `choices`. */
export function oneOf<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) {
    throw new LocalgradError(`--${name} must be one of ${choices.join(", ")}, not "${text}"`);
  }
  return found;
}

/** Suggests the flag that was probably meant, if there is one like it. */
function meant(word: string, names: readonly string[]): string {
  const given = word.replace(/^-+/, "").replace(/=.*/, "");
  const flag = nearest(given, names);
  return flag === undefined ? "" : `; did you mean --${flag}?`;
}
