import { LocalgradError } from "../../base/errors.ts";
import { expectOptions, type Kinds, shown } from "../../base/expect.ts";
import { iota, literal, where } from "../../trace/functions.ts";
import { bits, integers, split } from "../../trace/random.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { betaQuantiles } from "./beta.ts";
import { below } from "./erase.ts";

/** Mixing of each image with another of its batch. With both, half of the batches are mixed one way, half the other. */
export interface Mixing {
  /** Mixup (Zhang et al., 2017, arXiv 1710.09412): α of the Beta(α, α) distribution of the share of an image. */
  readonly mixup?: number;
  /** CutMix (Yun et al., 2019, arXiv 1905.04899): α of the distribution of the share that an image keeps. */
  readonly cutmix?: number;
}

const KINDS = { mixup: "number?", cutmix: "number?" } as const satisfies Kinds<Mixing>;

/** Refuses mixing that is none. `what` begins the message. */
export function checkMixing(what: string, mixing: Mixing): void {
  expectOptions(what, mixing, KINDS);
  for (const [name, alpha] of Object.entries(mixing)) {
    if (alpha === undefined || (alpha > 0 && alpha < 1000)) continue;
    throw new LocalgradError(
      `${what}: ${name} is the α of Beta(α, α), above 0 and below 1000, not ${shown(alpha)}`,
    );
  }
  if (mixing.mixup !== undefined || mixing.cutmix !== undefined) return;
  throw new LocalgradError(`${what}: give mixup, cutmix or both, such as { mixup: 0.2 }`);
}

/** A whole in units of the shares. */
const ONE = 4096;
const SHARES = 1024;

/** How the images of a batch are mixed with others. */
export interface DrawnMixing {
  /** The share that each image keeps of itself, the same for the whole batch: f32 `[]`. */
  readonly share: Tensor;
  /** Mixes images, f32 `[images, height, width, channels]`, with as many others; exact where all values are bytes. */
  mix(images: Tensor, others: Tensor): Tensor;
}

/**
 * Draws how a batch is mixed.
 *
 * @param key u32[2]; use a key once.
 * @param extents Rows and columns of an image.
 */
export function drawMixing(
  key: Tensor,
  extents: { readonly height: number; readonly width: number },
  { mixup, cutmix }: Mixing,
): DrawnMixing {
  const [one, another, choice] = split(key, 3);
  if (one === undefined || another === undefined || choice === undefined) {
    throw new Error("three keys were split");
  }
  const blend = mixup === undefined ? undefined : drawMixup(one, mixup);
  const cut = cutmix === undefined ? undefined : drawCutmix(another, extents, cutmix);
  if (blend === undefined || cut === undefined) {
    const only = blend ?? cut;
    if (only === undefined) throw new LocalgradError("mixing: give mixup, cutmix or both");
    return only;
  }
  const first = bits(choice, [1]).and(1).eq(1);
  return {
    share: where(first.reshape(), blend.share, cut.share),
    mix: (images, others) =>
      where(first.reshape(1, 1, 1, 1), blend.mix(images, others), cut.mix(images, others)),
  };
}

/** λ of the image and 1 − λ of the other; λ is a multiple of 2⁻¹². */
function drawMixup(key: Tensor, alpha: number): DrawnMixing {
  const shares = betaQuantiles(alpha, SHARES).map((share) => Math.round(share * ONE));
  const share = literal(shares, [SHARES], "i32").gather(integers(key, [1], SHARES)).cast("f32");
  const weight = share.reshape(1, 1, 1, 1);
  return {
    share: share.mul(1 / ONE).reshape(),
    // Of bytes, whole numbers below 2²⁴, so that no product and no sum is rounded.
    mix: (images, others) => images.mul(weight).add(others.mul(weight.neg().add(ONE))).mul(1 / ONE),
  };
}

/** A box of the other image in each image; the share is that of the pixels kept, as the border may cut the box. */
function drawCutmix(
  key: Tensor,
  { height, width }: { readonly height: number; readonly width: number },
  alpha: number,
): DrawnMixing {
  const [which, down, right] = split(key, 3);
  if (which === undefined || down === undefined || right === undefined) {
    throw new Error("three keys were split");
  }
  // Half of the height and width of a box, in a table for the reason given in erase.ts.
  const halves = betaQuantiles(alpha, SHARES).map((share) => {
    const half = 0.5 * Math.sqrt(1 - share);
    return Math.floor(half * height) * 2 ** 16 + Math.floor(half * width);
  });
  const half = literal(halves, [SHARES], "i32").gather(integers(which, [1], SHARES));
  const span = (key: Tensor, extent: number, half: Tensor) => {
    const centre = below(bits(key, [1]), literal([extent], [1], "i32"));
    return { from: centre.sub(half).maximum(0), to: centre.add(half).minimum(extent) };
  };
  const [rows, columns] = [span(down, height, half.shr(16)), span(right, width, half.and(0xffff))];
  const within = (axis: Tensor, { from, to }: { readonly from: Tensor; readonly to: Tensor }) =>
    axis.ge(from).cast("i32").mul(axis.lt(to).cast("i32"));
  const box = within(iota([1, height, 1, 1], 1), rows).mul(within(iota([1, 1, width, 1], 2), columns)).eq(1);
  const area = rows.to.sub(rows.from).mul(columns.to.sub(columns.from));
  return {
    share: area.neg().add(height * width).cast("f32").mul(1 / (height * width)).reshape(),
    mix: (images, others) => where(box, others, images),
  };
}
