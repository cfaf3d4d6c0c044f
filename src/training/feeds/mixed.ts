import { mixingOf } from "../../data/augment.ts";
import type { Augmentation } from "../../data/images.ts";
import type { Batch } from "../../local/method.ts";
import type { Share } from "../../local/processes/shares.ts";
import { concat } from "../../trace/functions.ts";
import type { Tensor } from "../../trace/tensor.ts";

/**
 * The labels that images are mixed with, as `readImages` mixes them, if a key and an augmentation say so.
 *
 * @param labels Those of the whole batch, of which the result has the images of `share`.
 */
export function mixedLabels(
  labels: () => Tensor,
  share: Share,
  extents: { readonly height: number; readonly width: number },
  key: Tensor | undefined,
  augmentation: Augmentation | undefined,
): Pick<Batch, "mixed"> {
  const mixing = key && augmentation && mixingOf(key, augmentation, extents);
  if (mixing === undefined) return {};
  const all = labels();
  const [count = 0, ...rest] = all.shape;
  const rows = (from: number, to: number) => all.slice([from, ...rest.map(() => 0)], [to, ...rest]);
  const before = count === 1 ? all : concat([rows(count - 1, count), rows(0, count - 1)]);
  const others = before.slice([share.from, ...rest.map(() => 0)], [share.to, ...rest]);
  return { mixed: { labels: others, share: mixing.share } };
}
