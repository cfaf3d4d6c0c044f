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
