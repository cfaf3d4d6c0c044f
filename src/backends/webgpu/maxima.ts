import type { DType } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import firstText from "../../../kernels/webgpu/maxima.wgsl" with { type: "text" };
import foldText from "../../../kernels/webgpu/maxima_fold.wgsl" with { type: "text" };
import type { Slot } from "../place.ts";
import { type Binding, type Call, stored } from "./call.ts";
import { Functions } from "./functions.ts";
import { type Constants, specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

/** Windows of an image in which to find the first maxima, by the names in the kernels. */
export interface Windows extends Constants {
  readonly H: number;
  readonly W: number;
  readonly C: number;
  readonly P: number;
  readonly Q: number;
  readonly WINDOW_H: number;
  readonly WINDOW_W: number;
  readonly STRIDE_H: number;
  readonly STRIDE_W: number;
  readonly PAD_TOP: number;
  readonly PAD_LEFT: number;
}

/** The number of parts that the search of a window is split into. */
export function searchParts({ WINDOW_H, WINDOW_W }: Windows, { run }: Variant): number {
  return Math.ceil(WINDOW_H * WINDOW_W / run);
}

/** Bytes of workspace for the maxima of all parts of `results` windows, and of whole windows if there are several parts. */
export function searchBytes(windows: Windows, results: number, variant: Variant): number {
  const parts = searchParts(windows, variant);
  return (parts > 1 ? parts + 1 : parts) * results * 4;
}

/**
 * The result of a search for first maxima: their places, in the workspace or in `y`; the maxima themselves; or the
 * elements of `v` at their places.
 */
export type Found =
  | { readonly kind: "places"; readonly y?: ValueId }
  | { readonly kind: "maxima"; readonly y: ValueId }
  | { readonly kind: "picked"; readonly y: ValueId; readonly v: ValueId };

/**
 * Finds the first maximum of each of `results` windows of `x`, which is of `dtype`. Places in the workspace begin at element `at`.
 */
export function firstMaxima(
  x: ValueId,
  dtype: DType,
  windows: Windows,
  results: number,
  found: Found,
  variant: Variant,
): { readonly calls: Call[]; readonly at: number } {
  const type = stored[dtype];
  const parts = searchParts(windows, variant);
  const functions = new Functions();
  const greater = type === "f32" ? `${functions.use("is_greater", 1)}(value, best)` : "value > best";
  const to = parts > 1 ? parts * results : 0;
  const constants = {
    ...{ ...windows, PARTS: parts, UNITS: results, GREATER: greater, T: type, TO: to },
    RUN: Math.ceil(windows.WINDOW_H * windows.WINDOW_W / parts),
  };
  const make = (
    label: string,
    text: string,
    more: Constants,
    bindings: readonly Binding[],
    count: number,
  ): Call => ({
    ...{ label, bindings, count, group: variant.group },
    text: `${functions.text()}\n${specialise(text, { ...constants, ...more })}`,
  });
  const read = (name: string, slot: Slot): Binding => ({ name, type, slot, write: false });
  const placed = (name: string, slot: Slot, write: boolean): Binding => ({ name, type: "i32", slot, write });

  const whole = parts === 1 && found.kind === "places"; // one pass is enough
  const target = whole && found.y !== undefined ? found.y : "workspace";
  const first = make(
    "firstMaximum",
    firstText,
    {},
    [read("x", x), placed("y", target, true)],
    results * parts,
  );
  if (whole) return { calls: [first], at: 0 };
  const own = found.kind === "places" && found.y === undefined;
  const fold = make(
    "foldMaxima",
    foldText,
    {
      ...{ INDEX: found.kind === "places", PICK: found.kind === "picked" },
      ...(own ? { RESULT: "parts" } : { RESULT: "y", TO: 0 }),
    },
    [
      read("x", x),
      placed("parts", "workspace", own),
      ...(found.kind === "picked" ? [read("v", found.v)] : []),
      ...(found.kind === "places"
        ? found.y === undefined ? [] : [placed("y", found.y, true)]
        : [{ ...read("y", found.y), write: true }]),
    ],
    results,
  );
  return { calls: [first, fold], at: to };
}
