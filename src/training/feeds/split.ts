import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { foldIn, type Key, permutation } from "../../base/random.ts";
import type { Feed } from "./feed.ts";

/** The training images divided in two: those trained on, and those set aside to evaluate on. */
export interface Split {
  readonly training: Uint32Array;
  readonly validation: Uint32Array;
}

/**
 * Draws the images to set aside, by the run's seed alone: a resumed run has the same. Both lists are ascending.
 *
 * @throws {LocalgradError} if no image would be set aside, or fewer than two be left.
 */
export function splitOf(seed: Key, count: number, fraction: number): Split {
  const aside = Math.round(count * fraction);
  if (aside < 1 || count - aside < 2) {
    throw new LocalgradError(
      `fit: validation ${fraction} of ${count} training images sets ${aside} aside; it must be at least one, and leave two`,
    );
  }
  const order = permutation(foldIn(seed, 3), count); // the trainer folds 0 to 2 and 4
  return { training: order.slice(aside).sort(), validation: order.slice(0, aside).sort() };
}

/** Some images of a feed, by their indices in it, as a feed of its own. It does not close the other. */
export function subset(feed: Feed, indices: Uint32Array): Feed {
  return {
    count: indices.length,
    arrays: feed.arrays,
    batch: feed.batch,
    async *supply(requests) {
      yield* feed.supply(mapped(requests));
      return undefined;
    },
    get made() {
      return feed.made;
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };

  function* mapped(requests: Parameters<Feed["supply"]>[0]) {
    for (const request of requests) {
      yield { ...request, indices: request.indices.map((index) => at(indices, index)) };
    }
  }
}
