/**
 * An element of a value. Unlike `at`, it reads one type of array only, which keeps the oracle's inner loops fast.
 *
 * @throws {RangeError} if `index` is out of bounds.
 */
export function element(data: Float64Array, index: number): number {
  const x = data[index];
  if (x === undefined) throw new RangeError(`no element ${index} of ${data.length}`);
  return x;
}

/** Adds to an element. */
export function add(out: Float64Array, index: number, term: number): void {
  out[index] = element(out, index) + term;
}

// The next two are most of the oracle's time, and checking their indices would double it; their callers' geometry is
// what the tests check.

/** The dot product of `count` elements of `a` from `i` and of `b` from `j`. */
export function dotRun(a: Float64Array, i: number, b: Float64Array, j: number, count: number): number {
  let sum = 0;
  for (let c = 0; c < count; c++) sum += a[i + c]! * b[j + c]!;
  return sum;
}

/** Adds `factor` times `count` elements of `x` from `j` to those of `out` from `i`. */
export function addRun(
  out: Float64Array,
  i: number,
  factor: number,
  x: Float64Array,
  j: number,
  count: number,
): void {
  for (let c = 0; c < count; c++) out[i + c]! += factor * x[j + c]!;
}
