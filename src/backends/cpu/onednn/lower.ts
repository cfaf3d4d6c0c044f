import { at } from "../../../base/at.ts";
import type { Aval, Shape } from "../../../trace/dtype.ts";
import { sizeOf } from "../../../trace/dtype.ts";
import type { StructuredInstruction } from "../../../trace/program.ts";
import type { Launches } from "../routine.ts";
import * as conv from "./conv.ts";
import type { OnednnEngine } from "./engine.ts";
import { product } from "./product.ts";

/** The launches of an op by oneDNN; undefined for those that stay with WebAssembly. */
export function onednnLaunches(
  engine: OnednnEngine,
  instruction: StructuredInstruction,
  values: readonly Aval[],
): Launches | undefined {
  const { op, attrs, inputs, output } = instruction;
  const [a, b, result] = [...inputs.slice(0, 2), output].map((value) => ({ value }));
  if ([...inputs, output].some((value) => at(values, value).dtype === "bf16")) return undefined;
  if (a === undefined || b === undefined || result === undefined) return undefined;
  const [left, right, made] = [a, b, result].map(({ value }): Shape => at(values, value).shape);
  if (left === undefined || right === undefined || made === undefined) return undefined;
  if (sizeOf(left) === 0 || sizeOf(right) === 0 || sizeOf(made) === 0) return undefined;
  switch (op) {
    case "conv":
      return conv.correlation(
        engine,
        "forward",
        { image: left, filter: right, y: made },
        attrs,
        a,
        b,
        result,
      );
    case "convInputGrad":
      return conv.correlation(
        engine,
        "inputGrad",
        { image: made, filter: right, y: left },
        attrs,
        a,
        b,
        result,
      );
    case "convFilterGrad":
      return conv.filterGrad(engine, { image: left, filter: made, y: right }, attrs, a, b, result);
    case "matmul":
      return product(engine, left, right, made, attrs, a, b, result);
    default:
      return undefined;
  }
}
