/**
 * Checked values of JSON from files. A decoder takes a result of `JSON.parse` and returns it with its type, or throws an
 * error that names file, line and field. Everything that is read from a file passes through one.
 *
 * @module
 */

import { LocalgradError } from "./errors.ts";

/** A file of JSON, for messages. */
export interface Source {
  /** Its path. */
  readonly file: string;
  /** The line to decode, from 1; undefined for the whole file. */
  readonly line?: number;
  /** The remedy to name in errors, such as "remove it and retry". */
  readonly remedy: string;
}

/** The position of a value in a file. */
export class Place {
  readonly #source: Source;
  readonly #path: string;

  /** A position by its path, such as `held.bytes`; empty for the whole content. */
  constructor(source: Source, path = "") {
    this.#source = source;
    this.#path = path;
  }

  /** The position of a field of the object here. */
  field(name: string): Place {
    const shown = /^[\w.+-]{1,60}$/.test(name) ? name : brief(name);
    return new Place(this.#source, this.#path === "" ? shown : `${this.#path}.${shown}`);
  }

  /** The position of an item of the list here. */
  item(index: number): Place {
    return new Place(this.#source, `${this.#path}[${index}]`);
  }

  /** The error for an unexpected value here. */
  wrong(value: unknown, expected: string): LocalgradError {
    return this.#error(
      value === undefined ? `is missing; it must be ${expected}` : `is ${describe(value)}, not ${expected}`,
    );
  }

  #error(fault: string): LocalgradError {
    const { file, line, remedy } = this.#source;
    const where = `${file}${line === undefined ? "" : `, line ${line}`}`;
    const path = this.#path.length <= 120 ? this.#path : `…${this.#path.slice(-120)}`;
    return new LocalgradError(`${where}${path === "" ? "" : `: ${path}`} ${fault}; ${remedy}`);
  }
}

/** Checks a value and returns it with its type. */
export type Decoder<T> = (value: unknown, at: Place) => T;

/** The beginning of a string from a file, for a message. */
export function abridged(text: string, most = 200): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}

/** A string for a message: quoted, and cut after 40 characters. */
export function brief(text: string): string {
  return JSON.stringify(abridged(text, 40));
}

function describe(value: unknown): string {
  if (typeof value === "string") return brief(value);
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** A finite number. */
export const number: Decoder<number> = (value, at) => {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw at.wrong(value, "a number");
};

/** A number, or NaN for null, which JSON writes for NaN and the infinities. */
export const numberOrNone: Decoder<number> = (value, at) => value === null ? NaN : number(value, at);

/** A whole number of at least `least`. */
export function whole(least = 0): Decoder<number> {
  return (value, at) => {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
    throw at.wrong(value, `a whole number of at least ${least}`);
  };
}

/** A string. */
export const text: Decoder<string> = (value, at) => {
  if (typeof value === "string") return value;
  throw at.wrong(value, "text");
};

/** True or false. */
export const boolean: Decoder<boolean> = (value, at) => {
  if (typeof value === "boolean") return value;
  throw at.wrong(value, "true or false");
};

/** One of some strings. */
export function oneOf<T extends string>(choices: readonly T[]): Decoder<T> {
  return (value, at) => {
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    throw at.wrong(value, choices.length === 1 ? choices.map(brief).join() : `one of ${choices.join(", ")}`);
  };
}

/** A list whose items are of one kind. */
export function list<T>(of: Decoder<T>): Decoder<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw at.wrong(value, "a list");
    return value.map((each, i) => of(each, at.item(i)));
  };
}

function fieldsOf(value: unknown, at: Place): { readonly [name: string]: unknown } {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as { readonly [name: string]: unknown };
  }
  throw at.wrong(value, "an object");
}

/** An object with any field names, whose values are of one kind. */
export function record<T>(of: Decoder<T>): Decoder<{ readonly [name: string]: T }> {
  return (value, at) =>
    Object.fromEntries(
      Object.entries(fieldsOf(value, at)).map(([name, each]) => [name, of(each, at.field(name))]),
    );
}

/** The decoder of a field that may be left out. */
interface Optional<T> {
  readonly optional: Decoder<T>;
}

/** Marks a field that may be left out. */
export function optional<T>(of: Decoder<T>): Optional<T> {
  return { optional: of };
}

/** A decoder for each field of a type. */
type Fields<T> = {
  readonly [N in keyof T]-?: Record<never, never> extends Pick<T, N> ? Optional<Exclude<T[N], undefined>>
    : Decoder<T[N]>;
};

/** An object with these fields; others are dropped. */
export function object<T extends object>(fields: Fields<T>): Decoder<T> {
  const entries = Object.entries(fields) as [string, Decoder<unknown> | Optional<unknown>][];
  return (value, at) => {
    const given = fieldsOf(value, at);
    const has = (name: string) => Object.hasOwn(given, name);
    return Object.fromEntries(
      entries.filter(([name, of]) => typeof of === "function" || has(name)).map(([name, of]) => {
        const decoder = typeof of === "function" ? of : of.optional;
        return [name, decoder(has(name) ? given[name] : undefined, at.field(name))];
      }),
    ) as T;
  };
}

const DEPTH = 32;

/** Any value of JSON, nested at most 32 levels deep: more than any file here needs. */
export const json: Decoder<unknown> = (value, at) => {
  if (nests(value, DEPTH)) return value;
  throw at.wrong(value, `nested at most ${DEPTH} deep`);
};

function nests(value: unknown, levels: number): boolean {
  if (typeof value === "bigint") return false; // not in JSON
  if (typeof value !== "object" || value === null) return true;
  return levels > 0 && Object.values(value).every((each) => nests(each, levels - 1));
}

/**
 * Decodes the bytes or text of a file, or of a line.
 *
 * @throws {LocalgradError} if the content is not JSON, or `of` refuses it.
 */
export function decodeJson<T>(content: Uint8Array | string, source: Source, of: Decoder<T>): T {
  return of(parse(content, source), new Place(source));
}

function parse(content: Uint8Array | string, { file, line, remedy }: Source): unknown {
  try {
    return JSON.parse(
      typeof content === "string" ? content : new TextDecoder("utf-8", { fatal: true }).decode(content),
    );
  } catch {
    const where = line === undefined ? `${file} is damaged: it` : `${file}: line ${line}`;
    throw new LocalgradError(`${where} is not JSON; ${remedy}`);
  }
}
