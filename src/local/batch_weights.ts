import { at } from "../base/at.ts";
import type { Tensor } from "../trace/tensor.ts";
import { sumOverShares } from "./processes/share_sums.ts";
import type { BatchWeights, Loss } from "./loss.ts";
import type { Batch } from "./method.ts";
import type { Share } from "./processes/shares.ts";

/**
 * The mean weights of the batch that a process has a share of, or divides into micro-batches; undefined where all images
 * weigh the same, or nothing is divided. Processes add up the weights of their shares.
 */
export function batchWeights(
  loss: Loss | undefined,
  { labels, mixed }: Pick<Batch, "labels" | "mixed">,
  share: Share | undefined,
  isDivided: boolean,
): BatchWeights | undefined {
  const { weights } = loss ?? {};
  const isShared = share !== undefined && share.copies === 1;
  if (weights === undefined || !isShared && !isDivided) return undefined;
  const sums = [labels, ...(mixed === undefined ? [] : [mixed.labels])].map((each): Tensor =>
    weights(each).cast("f32").sum()
  );
  const images = isShared ? share.images : at(labels.shape, 0);
  const [own, other] = (isShared ? sumOverShares(sums) : sums).map((sum) => sum.div(images));
  if (own === undefined) throw new Error("a batch has labels");
  return { own, ...(other === undefined ? {} : { mixed: other }) };
}
