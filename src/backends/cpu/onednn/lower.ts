import { at } from "../../../base/at.ts";
import type { Aval, Shape } from "../../../trace/dtype.ts";
import { sizeOf } from "../../../trace/dtype.ts";
import type { ConvAttrs } from "../../../trace/ops.ts";
import type { StructuredInstruction, ValueId } from "../../../trace/program.ts";
import type { ConvShapes } from "../conv.ts";
import { forwardCorrelation, inputGradCorrelation } from "../conv_geometry.ts";
import { packForward, packInputGrad } from "../conv_pack_filter.ts";
import { inF32 } from "../in_f32.ts";
import type { Launches, Operand } from "../routine.ts";
import { type Conv, wayOf } from "./choice.ts";
import { correlation, filterGrad } from "./conv.ts";
import type { OnednnEngine } from "./engine.ts";
import type { Floats } from "./maker.ts";
import { pointwise, product } from "./product.ts";
import { winogradCorrelation } from "./winograd.ts";
import { winogradFilterGrad } from "./winograd_filter_grad.ts";

/**
 * The launches of an op by oneDNN; undefined for those that stay with WebAssembly. `choose` replaces the choice between
 * them, to measure one.
 */
export function onednnLaunches(
  engine: OnednnEngine,
  instruction: StructuredInstruction,
  values: readonly Aval[],
  choose: typeof wayOf = wayOf,
): Launches | undefined {
  const { op, attrs, inputs, output } = instruction;
  const [a, b, result] = [...inputs.slice(0, 2), output].map((value) => ({ value }));
  if (a === undefined || b === undefined || result === undefined) return undefined;
  const [left, right, made] = [a, b, result].map(({ value }): Shape => at(values, value).shape);
  if (left === undefined || right === undefined || made === undefined) return undefined;
  if (sizeOf(left) === 0 || sizeOf(right) === 0 || sizeOf(made) === 0) return undefined;
  const dtype = at(values, output).dtype === "bf16" ? "bf16" : "f32"; // of all operands
  const convolution = (kind: Conv["kind"], shapes: ConvShapes, attrs: ConvAttrs): Launches | undefined => {
    const lower = (dtype: Floats, ...places: readonly [Operand, Operand, Operand]) =>
      launchesOf(engine, { kind, dtype, shapes, attrs }, choose, places);
    const launches = lower(dtype, a, b, result);
    if (launches !== undefined || dtype === "f32") return launches;
    // There is no fast primitive, or no room for partial gradients.
    const wide = lower("f32", a, b, result);
    const port = (place: { readonly value: ValueId }) => ({ ...at(values, place.value), place });
    return wide && inF32([port(a), port(b)], port(result), ([x, y], z) => {
      return (x && y && lower("f32", x.place, y.place, z.place)) ?? wide;
    });
  };
  switch (op) {
    case "conv":
      return convolution("forward", { image: left, filter: right, y: made }, attrs);
    case "convInputGrad":
      return convolution("inputGrad", { image: made, filter: right, y: left }, attrs);
    case "convFilterGrad":
      return convolution("filterGrad", { image: left, filter: made, y: right }, attrs);
    case "matmul":
      return product(engine, left, right, made, dtype, attrs, a, b, result);
    default:
      return undefined;
  }
}

function launchesOf(
  engine: OnednnEngine,
  { kind, dtype, shapes, attrs }: Omit<Conv, "correlation">,
  choose: typeof wayOf,
  [a, b, result]: readonly [Operand, Operand, Operand],
): Launches | undefined {
  const { image, filter, y } = shapes;
  const geometry = kind === "inputGrad"
    ? inputGradCorrelation(y, filter, image, attrs)
    : forwardCorrelation(image, filter, y, attrs);
  switch (choose({ kind, dtype, shapes, attrs, correlation: geometry })) {
    case "wasm":
      return undefined;
    case "direct":
      return kind === "filterGrad"
        ? filterGrad(engine, { dtype, ...shapes }, attrs, a, b, result)
        : correlation(engine, kind, { dtype, ...shapes }, attrs, a, b, result);
    case "product":
      return pointwise(engine, kind, { dtype, ...shapes }, a, b, result);
    case "winograd": {
      if (kind === "filterGrad") return winogradFilterGrad(engine, geometry, a, b, result);
      const pack = kind === "forward" ? packForward(geometry) : packInputGrad(geometry, filter[1], filter[2]);
      return winogradCorrelation(engine, geometry, pack, a, b, result);
    }
  }
}
