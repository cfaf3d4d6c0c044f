import { type Aval, sizeOf } from "../../trace/dtype.ts";
import type { InstructionOf } from "../../trace/program.ts";
import type { Call } from "./call.ts";
import { firstMaxima, searchBytes, searchParts, type Windows } from "./maxima.ts";
import type { Variant } from "./variant.ts";

type Argmax = InstructionOf<"argmax">;
type Values = readonly Aval[];

/** The axis as the only window of an image; the axes before it are the batch, those after it the channels. */
function windowOf({ attrs: { axis }, inputs }: Argmax, values: Values): Windows {
  const { shape } = values[inputs[0]];
  const H = shape[axis];
  return {
    ...{ H, W: 1, C: sizeOf(shape.slice(axis + 1)), P: 1, Q: 1, WINDOW_H: H, WINDOW_W: 1 },
    ...{ STRIDE_H: 1, STRIDE_W: 1, PAD_TOP: 0, PAD_LEFT: 0 },
  };
}

/** The index of the first maximum along an axis. */
export function argmax(i: Argmax, values: Values, variant: Variant): Call[] {
  const results = sizeOf(values[i.output].shape), found = { kind: "places", y: i.output } as const;
  return firstMaxima(i.inputs[0], values, windowOf(i, values), results, found, variant).calls;
}

/** Bytes of workspace for the candidates along a long axis. */
export function argmaxWorkspace(i: Argmax, values: Values, variant: Variant): number {
  const window = windowOf(i, values);
  return searchParts(window, variant) > 1 ? searchBytes(window, sizeOf(values[i.output].shape), variant) : 0;
}
