import { customGradient } from "../autograd/grad.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { imageExtents } from "../nn/image.ts";
import { formatAval } from "../trace/dtype.ts";
import { iota, oneHot, where } from "../trace/functions.ts";
import { expectTensor, type Tensor } from "../trace/tensor.ts";

/**
 * Cross-entropy of each row: −log softmax(logits)[label]. A label outside the classes counts as none of them. A logit of
 * −∞ makes its class impossible: the loss is ∞ where that is the label, and NaN where all logits are −∞.
 *
 * @param logits `[batch, classes]`.
 * @param labels i32 or u32 `[batch]`.
 * @returns f32 `[batch]`.
 * @throws {LocalgradError} if the shapes differ from these.
 */
export function crossEntropies(logits: Tensor, labels: Tensor): Tensor {
  expectTensor("crossEntropies", logits, labels);
  if (logits.rank !== 2 || labels.rank !== 1 || labels.shape[0] !== logits.shape[0]) {
    throw new LocalgradError(
      `crossEntropy: needs logits [batch, classes] and labels [batch], got ${formatAval(logits)} and ` +
        formatAval(labels),
    );
  }
  logits = logits.cast("f32");
  // Adding a constant to a row does not change its softmax; after subtracting the maximum no exponential overflows.
  const shifted = logits.sub(logits.max(1, { keepDims: true }).stopGradient());
  // Selected rather than multiplied by 0 or 1: a logit of −∞, of a class that is masked out, would give NaN.
  const columns = iota(shifted.shape, 1, labels.dtype === "u32" ? "u32" : "i32");
  const picked = where(labels.reshape(-1, 1).eq(columns), shifted, 0).sum(1);
  return shifted.exp().sum(1).log().sub(picked);
}

/**
 * Mean cross-entropy over the batch; see {@link crossEntropies}.
 *
 * @example
 * ```ts
 * import { devices, jit, local, type Tensor } from "@localgrad/localgrad";
 * import { assertAlmostEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * const loss = jit((logits: Tensor, labels: Tensor) => local.crossEntropy(logits, labels), { device });
 * using value = loss(device.array([0, 0, 0, 0], [2, 2]), Int32Array.of(0, 1));
 * assertAlmostEquals((await value.read())[0], Math.log(2), 1e-6);
 * ```
 */
export function crossEntropy(logits: Tensor, labels: Tensor): Tensor {
  return crossEntropies(logits, labels).mean();
}

/**
 * Tests for each row of logits whether its largest entry is at the label. A row with NaN or +∞ counts as wrong.
 *
 * @param logits `[batch, classes]`, or of positions `[batch, …, classes]`.
 * @param labels i32 or u32 `[batch]`, or `[batch, …]`.
 * @returns 1 for each correct row and 0 for the others: f32 of the labels' shape.
 */
export function correct(logits: Tensor, labels: Tensor): Tensor {
  expectTensor("correct", logits, labels);
  const sound = logits.max(-1).isFinite();
  return logits.argmax(logits.rank - 1).eq(labels.cast("i32")).and(sound).cast("f32");
}

/**
 * The fraction of the positions of a batch, pixels or tokens, that are {@link correct}, times its inputs: f32 scalar. Positions
 * whose label is ignored, or is no class, do not count; the fraction of none is 0.
 *
 * @param logits `[batch, height, width, classes]` of pixels, `[batch, length, classes]` of tokens.
 * @param labels i32 or u32 `[batch, height, width]`, or `[batch, length]`.
 */
export function correctPositions(logits: Tensor, labels: Tensor, ignored: number | undefined): Tensor {
  expectTensor("correctPositions", logits, labels);
  const counted = countedPositions(labels, at(logits.shape, logits.rank - 1), ignored);
  const right = correct(logits, labels).mul(counted).sum();
  return right.div(counted.sum().maximum(1)).mul(at(labels.shape, 0));
}

/** 1 for each label that is a class and not ignored, else 0: f32. */
export function countedPositions(labels: Tensor, classes: number, ignored: number | undefined): Tensor {
  expectTensor("countedPositions", labels);
  const own = labels.cast("i32");
  const known = own.ge(0).and(own.lt(classes));
  return (ignored === undefined ? known : known.and(own.ne(ignored))).cast("f32");
}

/** The number of rows of logits that are {@link correct}: f32 scalar. */
export function correctCount(logits: Tensor, labels: Tensor): Tensor {
  return correct(logits, labels).sum();
}

/**
 * The mean squared error of each row of a regression, over its outputs.
 *
 * @param outputs `[batch, outputs]`.
 * @param labels f32 `[batch, outputs]`, or `[batch]` of one output.
 * @returns f32 `[batch]`.
 * @throws {LocalgradError} if the shapes differ.
 */
export function squaredErrors(outputs: Tensor, labels: Tensor): Tensor {
  return differences("squaredErrors", outputs, labels).square().mean(1);
}

/** The mean absolute error of each row of a regression, over its outputs; see {@link squaredErrors}. */
export function absoluteErrors(outputs: Tensor, labels: Tensor): Tensor {
  return differences("absoluteErrors", outputs, labels).abs().mean(1);
}

/** Outputs minus labels, f32 `[batch, outputs]`; shapes that would broadcast are refused. */
function differences(who: string, outputs: Tensor, labels: Tensor): Tensor {
  expectTensor(who, outputs, labels);
  const column = labels.rank === 1 ? labels.reshape(-1, 1) : labels;
  if (outputs.rank !== 2 || String(column.shape) !== String(outputs.shape)) {
    throw new LocalgradError(
      `${who}: needs outputs and labels [batch, outputs], got ${formatAval(outputs)} and ${
        formatAval(labels)
      }`,
    );
  }
  return outputs.cast("f32").sub(column.cast("f32"));
}

/**
 * Mean binary cross-entropy between sigmoid(logits) and targets, over all elements: max(z, 0) − z·t + log(1 + e^−|z|),
 * which unlike the logarithm of a sigmoid cannot overflow. No gradient flows to the targets.
 *
 * @param logits Of any shape.
 * @param targets In [0, 1], of the same shape.
 * @returns f32 scalar.
 */
export function binaryCrossEntropy(logits: Tensor, targets: Tensor): Tensor {
  expectTensor("binaryCrossEntropy", logits, targets);
  [logits, targets] = [logits.cast("f32"), targets.cast("f32")];
  // Differentiating the formula would need gradients of |z| and max(z, 0) at 0; the gradient is simply σ(z) − t.
  const outputs = customGradient([logits], (z) => ({
    outputs: [z.maximum(0).sub(z.mul(targets)).add(z.abs().neg().exp().add(1).log())],
    rule: ([ct]) => [ct?.mul(z.sigmoid().sub(targets))],
  }));
  return at(outputs, 0).mean();
}

/**
 * Supervised contrastive loss (Khosla et al., 2020, arXiv 2004.11362, L_out). Rows of `features` are normalised to unit
 * length; each is pulled toward the rows of its class and away from the others. A row that is the only one of its class
 * has a loss of 0.
 *
 * @param features `[batch, features]`.
 * @param labels i32 or u32 `[batch]`.
 * @param temperature Default 0.07, as in InfoPro.
 * @param anchors The rows averaged over: `all` (default), as in the published code of the loss and of InfoPro, or
 * `paired`, those that share their class with another, so that rows that are alone in theirs do not lower the loss.
 * @returns f32 scalar.
 * @throws {LocalgradError} if the temperature is not above 0.
 */
export function supervisedContrastive(
  features: Tensor,
  labels: Tensor,
  temperature: number = 0.07,
  anchors: "all" | "paired" = "all",
): Tensor {
  expectTensor("supervisedContrastive", features, labels);
  if (!(temperature > 0)) {
    throw new LocalgradError(`supervisedContrastive: the temperature must be above 0, not ${temperature}`);
  }
  const [count = 0] = features.shape;
  const similarity = cosines(features.cast("f32")).div(temperature);
  const square = [count, count];
  const others = iota(square, 0).ne(iota(square, 1)).cast("f32");
  const alike = labels.reshape(count, 1).broadcastTo(square).eq(labels.reshape(1, count).broadcastTo(square));
  const positives = alike.cast("f32").mul(others);
  // A row's similarity to itself is the largest, 1 / temperature; subtracting it keeps the exponentials in range.
  const shifted = similarity.sub(1 / temperature);
  const denominator = shifted.exp().mul(others).sum(1, { keepDims: true }).maximum(1e-30).log();
  const logProbability = shifted.sub(denominator);
  const partners = positives.sum(1);
  const losses = logProbability.mul(positives).sum(1).neg().div(partners.maximum(1));
  const each = where(partners.gt(0), losses, 0);
  return anchors === "all" ? each.mean() : each.sum().div(partners.gt(0).cast("f32").sum().maximum(1));
}

/** Cosine similarities of rows: `[batch, features]` → `[batch, batch]`. A row of zeros has 0 with every other. */
function cosines(rows: Tensor): Tensor {
  const lengths = rows.square().sum(1, { keepDims: true }).maximum(1e-24).sqrt();
  const unit = rows.div(lengths);
  return unit.matmul(unit, { transposeB: true });
}

/**
 * Similarity matching (Nøkland & Eidnes, 2019, arXiv 1901.06656): images should be as similar in `features` as in their
 * labels. The loss is the mean squared difference, over all pairs, between the similarities of the features and those of
 * the one-hot labels. Similarity is the cosine between rows after subtracting each row's mean.
 *
 * @param features Rows `[batch, features]`, or feature maps `[batch, height, width, channels]`, whose rows are the standard
 * deviation of each channel over the image.
 * @param labels i32 or u32 `[batch]`.
 * @returns f32 scalar.
 */
export function similarityMatching(features: Tensor, labels: Tensor, classes: number): Tensor {
  expectTensor("similarityMatching", features, labels);
  const rows = features.rank === 4 ? deviations(features.cast("f32")) : features.cast("f32");
  const similarity = (x: Tensor) => cosines(x.sub(x.mean(1, { keepDims: true })));
  return similarity(rows).sub(similarity(oneHot(labels, classes))).square().mean();
}

/** The unbiased standard deviation of each channel of each image; the value itself for an image of one pixel. */
function deviations(images: Tensor): Tensor {
  const [height, width, channels] = imageExtents("similarityMatching", images.shape.slice(1));
  const pixels = height * width;
  if (pixels === 1) return images.reshape(at(images.shape, 0), channels);
  const centred = images.sub(images.mean([1, 2], { keepDims: true }));
  return centred.square().sum([1, 2]).mul(1 / (pixels - 1)).maximum(1e-12).sqrt();
}
