import { LocalgradError } from "./errors.ts";

/** Whether a number is whole and lies from `least` to `most`. */
export function isWhole(value: number, least: number = -Infinity, most: number = Infinity): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

/** Refuses what is no whole number from `least` to `most`; `what` begins the message. */
export function expectWhole(what: string, value: number, least = 1, most = Infinity): void {
  if (isWhole(value, least, most)) return;
  const range = most === Infinity ? `of at least ${least}` : `from ${least} to ${most}`;
  throw new LocalgradError(`${what} must be a whole number ${range}, not ${shown(value)}`);
}

/** Refuses a number outside of `[low, high)`; `what` begins the message. */
export function expectBetween(what: string, value: number, low: number, high: number = Infinity): void {
  if (typeof value === "number" && value >= low && value < high) return;
  const range = high === Infinity ? `at least ${low}` : `at least ${low} and below ${high}`;
  throw new LocalgradError(`${what} must be ${range}, not ${shown(value)}`);
}

/** What an argument may be: a type, or "any"; "array" is a list or typed array. */
export type Kind = "number" | "string" | "boolean" | "function" | "object" | "array" | "any";

/** The kind of every property of an object; those that may be left out end in "?". */
export type Kinds<T> = {
  readonly [K in keyof T]-?: T extends Record<K, T[K]> ? Kind : `${Kind}?`;
};

/** Refuses an object whose properties are not of their kinds; `who` begins the message. Others are let be. */
export function expectObject<T extends object>(who: string, value: T, kinds: Kinds<T>): void {
  if (typeof value !== "object" || value === null) {
    throw new LocalgradError(
      `${who} must be an object with ${Object.keys(kinds).join(", ")}, not ${shown(value)}`,
    );
  }
  for (const [name, kind] of Object.entries<`${Kind}?` | Kind>(kinds)) {
    const property = (value as { readonly [name: string]: unknown })[name];
    if (property === undefined && kind.endsWith("?")) continue;
    if (isKind(property, kind.replace("?", "") as Kind)) continue;
    const should = kind === "any"
      ? "be given"
      : `be ${ARTICLES[kind.replace("?", "") as keyof typeof ARTICLES]}`;
    throw new LocalgradError(`${who}: ${name} must ${should}, not ${shown(property)}`);
  }
}

/** The same of options, among which there may be no others: one that is misspelt would do nothing. */
export function expectOptions<T extends object>(who: string, options: T, kinds: Kinds<T>): void {
  expectObject(who, options, kinds);
  const foreign = Object.keys(options).find((name) => !Object.hasOwn(kinds, name));
  if (foreign === undefined) return;
  throw new LocalgradError(
    `${who} has no option ${JSON.stringify(foreign)}; it has ${Object.keys(kinds).join(", ")}`,
  );
}

/** Refuses an argument of another kind; `what` begins the message. */
export function expectKind(what: string, value: unknown, kind: Exclude<Kind, "any">): void {
  if (!isKind(value, kind)) {
    throw new LocalgradError(`${what} must be ${ARTICLES[kind]}, not ${shown(value)}`);
  }
}

const ARTICLES = {
  number: "a number",
  string: "a text",
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
  if (kind === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  const type: string = typeof value;
  return type === kind;
}

/** A value in a message, whatever it is. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) {
    return typeof value === "bigint" ? `${value}n` : String(value);
  }
  const { name } = value.constructor ?? {};
  if (Array.isArray(value)) return "a list";
  return typeof name !== "string" || name === "Object" || name === "" ? "an object" : `a ${name}`;
}
