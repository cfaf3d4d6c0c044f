/**
 * Returns the value at an index that the caller knows to be within bounds. Iterate or destructure where that reads as
 * well; an index that turns out to be wrong is a defect of the library, not the caller's mistake.
 *
 * @throws {RangeError} if `index` is out of bounds.
 */
export function at<T>(values: ArrayLike<T>, index: number): T {
  const value = values[index];
  if (value === undefined) refuseOutside(values, index);
  return value as T; // T may itself include undefined
}

/** Apart from {@link at}, which is inlined as long as it is small. */
function refuseOutside(values: ArrayLike<unknown>, index: number): void {
  if (!(index in values)) throw new RangeError(`no value at index ${index} of ${values.length}`);
}
