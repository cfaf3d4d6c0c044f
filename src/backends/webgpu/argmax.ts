import { at } from "../../base/at.ts";
import { sizeOf } from "../../trace/dtype.ts";
import type { Call } from "./call.ts";
import { firstMaxima, searchBytes, searchParts, type Windows } from "./maxima.ts";
import type { Operation } from "./operation.ts";
import type { Variant } from "./variant.ts";

type Argmax = Operation<"argmax">;

/** The axis as the only window of an image; the axes before it are the batch, those after it the channels. */
function windowOf({ attrs: { axis }, operands: [{ shape }] }: Argmax): Windows {
  const H = at(shape, axis);
  return {
    ...{ H, W: 1, C: sizeOf(shape.slice(axis + 1)), P: 1, Q: 1, WINDOW_H: H, WINDOW_W: 1 },
    ...{ STRIDE_H: 1, STRIDE_W: 1, PAD_TOP: 0, PAD_LEFT: 0 },
  };
}

/** The index of the first maximum along an axis. */
export function argmax(i: Argmax, variant: Variant): Call[] {
  const results = sizeOf(i.result.shape), found = { kind: "places", y: i.output } as const;
  return firstMaxima(i.inputs[0], i.operands[0].dtype, windowOf(i), results, found, variant).calls;
}

/** Bytes of workspace for the candidates along a long axis. */
export function argmaxWorkspace(i: Argmax, variant: Variant): number {
  const window = windowOf(i);
  return searchParts(window, variant) > 1 ? searchBytes(window, sizeOf(i.result.shape), variant) : 0;
}
