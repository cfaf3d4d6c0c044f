import { checkpoint } from "../../autograd/grad.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectWhole } from "../../base/expect.ts";
import { imageExtents } from "../../nn/image.ts";
import { type Layer, layer } from "../../nn/layer.ts";
import type { Named } from "../../nn/named.ts";
import { sharedBatch } from "../../nn/shared_batch.ts";
import type { Shape } from "../../trace/dtype.ts";
import type { Tensor } from "../../trace/tensor.ts";

/** A part of an image or of features. */
export interface Patch {
  /** The shape of the part: `[height, width, channels]`. */
  readonly shape: Shape;
  /** Returns the part of a batch of images: `[batch, height, width, channels]`. */
  of(x: Tensor): Tensor;
}

/**
 * Divides images `[height, width, channels]` into patches, n in each direction, row by row. Sizes that n does not divide
 * give patches whose sizes differ by one. Vectors and tokens are one patch. `who` begins messages.
 */
export function patchesOf(who: string, shape: Shape, n: number): Patch[] {
  expectWhole(`${who}: patches`, n);
  if (shape.length < 3) {
    if (n === 1) return [{ shape, of: (x) => x }];
    const what = shape.length === 1 ? "vectors" : "tokens";
    throw new LocalgradError(`${who}: patches are parts of images, not of ${what}; leave patches out`);
  }
  const [height, width, channels] = imageExtents(who, shape);
  if (n > Math.min(height, width)) {
    throw new LocalgradError(
      `${who}: features of ${height}×${width} cannot be divided into ${n}×${n} patches; choose fewer patches`,
    );
  }
  const start = (i: number, size: number) => Math.floor(i * size / n);
  return Array.from({ length: n * n }, (_, i) => {
    const [row, column] = [Math.floor(i / n), i % n];
    const [top, bottom] = [start(row, height), start(row + 1, height)];
    const [left, right] = [start(column, width), start(column + 1, width)];
    return {
      shape: [bottom - top, right - left, channels],
      of: (x) => x.slice([0, top, left, 0], [x.shape[0] ?? 0, bottom, right, channels]),
    };
  });
}

/**
 * Makes a head that runs on patches of its features, one after the other with the same parameters, and averages what it
 * gives: patch feature fusion (HPFF; Su et al., ECCV 2024, arXiv 2407.05638). The backward pass computes the activations of
 * each patch again, so that those of one patch are in memory at a time. Its batch norms see one patch at a time.
 *
 * @param make Makes the head for features of a shape; its parameters must not depend on height and width.
 */
export function patched(who: string, make: (features: Shape) => Layer, features: Shape, n: number): Layer {
  if (n === 1) return make(features);
  const parts = patchesOf(who, features, n).map((patch) => ({ patch, head: make(patch.shape) }));
  const [first] = parts;
  if (first === undefined) throw new Error("there is at least one patch");
  return layer({
    params: first.head.params,
    state: first.head.state,
    apply(params, state, x, mode) {
      let after = state;
      const outputs = parts.map(({ patch, head }) => {
        const run = (params: Named<Tensor>, state: Named<Tensor>, x: Tensor) =>
          head.apply(params, state, patch.of(x), mode);
        // Statistics that processes share are exchanged, which must not be repeated.
        const { y, state: next } = (sharedBatch() === undefined ? checkpoint(run) : run)(params, after, x);
        after = next;
        return y;
      });
      return { y: outputs.reduce((a, b) => a.add(b)).mul(1 / outputs.length), state: after };
    },
  });
}
