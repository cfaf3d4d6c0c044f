import { LocalgradError } from "./errors.ts";
import { knownInstead } from "./option_names.ts";

/** Tests for a whole number from `least` to `most`. */
export function isWhole(value: number, least: number = -Infinity, most: number = Infinity): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

/** Refuses anything but a whole number from `least` to `most`; `what` begins the message. */
export function expectWhole(what: string, value: number, least = 1, most = Infinity): void {
  if (isWhole(value, least, most)) return;
  const range = most === Infinity ? `of at least ${least}` : `from ${least} to ${most}`;
  throw new LocalgradError(`${what} must be a whole number ${range}, not ${shown(value)}`);
}

/**
 * Returns height and width, for both of which one number may stand; refuses anything but one or two numbers, and, if `least`
 * is given, but whole ones from there. `what` begins the message.
 */
export function pairFrom(
  what: string,
  value: number | readonly [number, number],
  least?: number,
): readonly [number, number] {
  if (typeof value === "number") {
    if (least !== undefined) expectWhole(what, value, least);
    return [value, value];
  }
  if (!isKind(value, "array") || value.length !== 2) {
    const given = isKind(value, "array") ? `a list of ${value.length}` : shown(value);
    throw new LocalgradError(`${what} must be a whole number, or two: [height, width], not ${given}`);
  }
  if (least !== undefined) { for (const each of value) expectWhole(what, each, least); }
  return value;
}

/** Refuses anything but a number in `[low, high)`; `what` begins the message. */
export function expectBetween(what: string, value: number, low: number, high: number = Infinity): void {
  if (typeof value === "number" && value >= low && value < high) return;
  const range = high === Infinity ? `at least ${low}` : `at least ${low} and below ${high}`;
  throw new LocalgradError(`${what} must be ${range}, not ${shown(value)}`);
}

/** The kind of an argument: a type, or "any" but undefined; "array" is a list or typed array. */
export type Kind = "number" | "string" | "boolean" | "function" | "object" | "array" | "any";

/** The kind of each property of an object, with "?" at the end if it may be left out. */
export type Kinds<T> = {
  readonly [K in keyof T]-?: T extends Record<K, T[K]> ? Kind : `${Kind}?`;
};

/** Refuses an object whose properties are not of their kinds; it may have others. `who` begins the message. */
export function expectObject<T extends object>(who: string, value: T, kinds: Kinds<T>): void {
  if (!isKind(value, "object")) {
    throw new LocalgradError(
      `${who} must be an object with ${Object.keys(kinds).join(", ")}, not ${shown(value)}${uncalled(value)}`,
    );
  }
  for (const [name, kind] of Object.entries<`${Kind}?` | Kind>(kinds)) {
    const property = (value as { readonly [name: string]: unknown })[name];
    if (property === undefined && kind.endsWith("?")) continue;
    const plain = kind.replace("?", "") as Kind;
    if (isKind(property, plain)) continue;
    const should = plain === "any" ? "be given" : `be ${ARTICLES[plain]}`;
    const call = plain === "object" ? uncalled(property) : "";
    throw new LocalgradError(`${who}: ${name} must ${should}, not ${shown(property)}${call}`);
  }
}

/** Refuses unknown options, because a misspelt one would be ignored, and options that are not of their kinds. */
export function expectOptions<T extends object>(who: string, options: T, kinds: Kinds<T>): void {
  const isObject = isKind(options, "object");
  if (isObject) {
    const known = Object.keys(kinds);
    const takers = takenOf(options);
    if (takers === undefined) refuseForeign(who, options, known);
    else for (const name of known) takers.add(name);
  }
  // A name such as "fit: saveEvery" is of the options already; "fit" is not.
  expectObject(isObject || who.includes(": ") ? who : `${who}: the options`, options, kinds);
}

const TAKEN = Symbol("options of several functions");

/** Options from which several functions take their own; {@link expectTaken} then refuses those that none has taken. */
export function shared<T extends object>(options: T): T {
  return takenOf(options) === undefined ? { ...options, [TAKEN]: new Set<string>() } : options;
}

/** Refuses shared options that no function has taken. */
export function expectTaken(who: string, options: object): void {
  refuseForeign(who, options, [...takenOf(options) ?? []]);
}

function takenOf(options: object): Set<string> | undefined {
  return (options as { readonly [TAKEN]?: Set<string> })[TAKEN];
}

function refuseForeign(who: string, options: object, known: readonly string[]): void {
  const foreign = Object.keys(options).find((name) => !known.includes(name));
  if (foreign === undefined) return;
  throw new LocalgradError(`${who} has no option ${JSON.stringify(foreign)}${knownInstead(foreign, known)}`);
}

/** Refuses an argument that is not of a kind; `what` begins the message. */
export function expectKind(what: string, value: unknown, kind: Exclude<Kind, "any">): void {
  if (!isKind(value, kind)) {
    const call = kind === "object" ? uncalled(value) : "";
    throw new LocalgradError(`${what} must be ${ARTICLES[kind]}, not ${shown(value)}${call}`);
  }
}

const ARTICLES = {
  number: "a number",
  string: "a string",
  boolean: "true or false",
  function: "a function",
  object: "an object",
  array: "a list",
} as const satisfies { readonly [K in Exclude<Kind, "any">]: string };

function isKind(value: unknown, kind: Kind): boolean {
  if (kind === "any") return value !== undefined;
  if (kind === "array") {
    return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
  }
  if (kind === "object") {
    return typeof value === "object" && value !== null && !Array.isArray(value) &&
      !(value instanceof Promise);
  }
  const type: string = typeof value;
  return type === kind;
}

/** Formats any value for a message, in few words. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "function") {
    const { name } = value;
    if (typeof name !== "string" || name === "") return "a function";
    return isClass(value) ? `the class ${name}` : `the function ${name}`;
  }
  if (typeof value !== "object" || value === null) {
    return typeof value === "bigint" ? `${value}n` : String(value);
  }
  const { name } = value.constructor ?? {};
  if (Array.isArray(value)) return "a list";
  return typeof name !== "string" || name === "Object" || name === "" ? "an object" : withArticle(name);
}

/** The remedy where a function or a promise was given in place of the object that it makes; else empty. */
export function uncalled(value: unknown): string {
  if (value instanceof Promise) return "; await it";
  if (typeof value !== "function") return "";
  const name = typeof value.name === "string" && value.name !== "" ? value.name : "it";
  return isClass(value) ? `; make one of it` : `; call it: ${name}()`;
}

function isClass(value: { toString(): string }): boolean {
  return Function.prototype.toString.call(value).startsWith("class");
}

/** A type's name with its article, by its sound: an AbortController, a Uint8Array, an HTMLElement, a URL. */
export function withArticle(name: string): string {
  const vowel = /^(?:[AEIOaeio]|[Uu](?!int|RL|se|ni)|[FHLMNRSX][A-Z0-9])/.test(name);
  return `${vowel ? "an" : "a"} ${name}`;
}
