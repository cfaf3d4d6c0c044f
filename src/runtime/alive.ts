import { type Aval, bytesOf, formatAval } from "../trace/dtype.ts";

/** The number of arrays that are listed. */
const OLDEST = 5;

/**
 * Completes an error of lack of memory: how many arrays are alive, their bytes, and the oldest, which are the likeliest to
 * have been forgotten, because a step replaces the arrays that it trains.
 *
 * @param arrays The arrays, oldest first, each with its number among all that the device has `made`.
 */
export function aliveText(arrays: ReadonlyMap<Aval, number>, made: number): string {
  let bytes = 0;
  for (const array of arrays.keys()) bytes += bytesOf(array);
  const oldest = [...arrays].slice(0, OLDEST).map(([array, number]) =>
    `${formatAval(array)} (no. ${number})`
  );
  const count = arrays.size === 1 ? "1 array is" : `${arrays.size} arrays are`;
  return `${count} alive on this device, ${
    (bytes / 2 ** 20).toFixed(1)
  } MiB in all; the oldest of ${made} made: ` +
    `${oldest.join(", ")}; dispose of those that are no longer used, or declare them with using`;
}
