import { LocalgradError } from "./errors.ts";
import { shown, uncalled } from "./expect.ts";

/** An iterator whose results are checked. */
export interface CheckedIterator<T> {
  /** The next result; undefined if the iterator has ended. */
  readonly next: () => Promise<{ readonly value: T } | undefined>;
  /** Tells the iterator that no more is asked of it. */
  readonly close: () => Promise<void>;
}

/** True for what `for await` takes. */
export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return isObject(value) && typeof Reflect.get(value, Symbol.asyncIterator) === "function";
}

/** True for what `for of` takes, other than a string. */
export function isIterable(value: unknown): value is Iterable<unknown> {
  return isObject(value) && typeof Reflect.get(value, Symbol.iterator) === "function";
}

/** The remedy for a value that is not an async iterable; empty if none is known. */
export function iterableRemedy(value: unknown): string {
  if (typeof value === "function") return uncalled(value);
  if (value instanceof Promise) return "; await it";
  if (isIterable(value)) return Array.isArray(value) ? "" : "; make it an async function*";
  const next = isObject(value) && typeof Reflect.get(value, "next") === "function";
  return next ? "; give it [Symbol.asyncIterator]() { return this; }" : "";
}

/**
 * The iterator of what `for await` takes, checked as it goes.
 *
 * @param what Begins messages: `fit: the batches of stream`.
 * @throws {LocalgradError} if it has no `next`; `next` and `close` throw one if a result or `return` is not as the
 * protocol demands, and pass on what the iterator throws.
 */
export function iteratorOf<T>(
  what: string,
  source: AsyncIterable<T> | Iterable<T>,
): CheckedIterator<T> {
  const iterator: unknown = isAsyncIterable(source)
    ? source[Symbol.asyncIterator]()
    : (source as Iterable<T>)[Symbol.iterator]();
  const { next, return: leave } = methodsOf(what, iterator);
  return {
    async next() {
      const result: unknown = await next.call(iterator);
      if (!isObject(result)) {
        throw new LocalgradError(`${what}: next() must return { value, done }, not ${shown(result)}`);
      }
      const { value, done } = result as IteratorResult<T>;
      return done ? undefined : { value };
    },
    async close() {
      await leave?.call(iterator);
    },
  };
}

type Method = (this: unknown) => unknown;

/** The methods of an iterator. */
function methodsOf(what: string, iterator: unknown): { next: Method; return: Method | undefined } {
  const next: unknown = isObject(iterator) ? Reflect.get(iterator, "next") : undefined;
  const leave: unknown = isObject(iterator) ? Reflect.get(iterator, "return") : undefined;
  if (!isMethod(next)) {
    throw new LocalgradError(
      `${what}: its iterator must have next(), but is ${shown(iterator)}${
        isObject(iterator) ? ` whose next is ${shown(next)}` : ""
      }`,
    );
  }
  if (isMethod(leave)) return { next, return: leave };
  if (leave === undefined || leave === null) return { next, return: undefined };
  throw new LocalgradError(`${what}: the return of its iterator must be a method, not ${shown(leave)}`);
}

const isMethod = (value: unknown): value is Method => typeof value === "function";
const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null || typeof value === "function";
