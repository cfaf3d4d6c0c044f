import { iteratorOf } from "../base/iterators.ts";

/**
 * Maps items as they come, up to `most` at a time, and yields the results in order, each as soon as it is there. When
 * the consumer stops, so does the source.
 */
export async function* inOrder<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  map: (item: T) => Promise<R>,
  most: number,
): AsyncGenerator<R, void, void> {
  const source = iteratorOf("predict: the images", items);
  const running: Promise<R>[] = [];
  let coming: ReturnType<typeof source.next> | undefined;
  let ended = false;
  try {
    while (true) {
      if (!ended && coming === undefined && running.length < most) {
        coming = source.next();
        coming.catch(() => {}); // thrown below, when it is awaited
      }
      const [first] = running;
      if (first === undefined && coming === undefined) return;
      // Whatever is there first: the next result, or the next item.
      if (first !== undefined && (coming === undefined || await settledFirst(first, coming))) {
        yield await first;
        running.shift();
        continue;
      }
      const next = await coming;
      coming = undefined;
      if (next === undefined) {
        ended = true;
        continue;
      }
      const result = map(next.value);
      result.catch(() => {}); // thrown when its turn comes, if it does
      running.push(result);
    }
  } finally {
    if (!ended) await source.close();
    await Promise.allSettled(running);
  }
}

/** True if `a` settles no later than `b`. */
function settledFirst(a: Promise<unknown>, b: Promise<unknown>): Promise<boolean> {
  return Promise.race([a.then(() => true, () => true), b.then(() => false, () => false)]);
}
