import { at } from "../../base/at.ts";
import type { Aval } from "../../trace/dtype.ts";
import { type Argument, type Call, THREADS, valueArgument } from "./call.ts";
import { typeOf } from "./expressions.ts";
import { type Lanes, lanesOf, widestOf } from "./tiling.ts";

/** The shapes and dtypes of a plan's values. */
export type Values = readonly Aval[];

/** The constants of a template's geometry struct: integers and booleans. */
export type Geometry = Readonly<Record<string, number | boolean>>;

/**
 * A call of a template in kernels/cuda: a kernel that passes its arguments on to the template, instantiated with its
 * geometry.
 *
 * @param template The template's name and type arguments, with `G` for the geometry, such as `max_pool<G>`.
 * @param count The number of threads.
 * @param functions Members of the geometry that are not constants, as CUDA C.
 */
export function callTemplate(
  label: string,
  template: string,
  geometry: Geometry,
  count: number,
  parameters: readonly Argument[],
  functions: readonly string[] = [],
): Call {
  const constants = Object.entries({ ...geometry, count }).map(([name, value]) => constant(name, value));
  const list = parameters.map(({ dtype, written }, i) =>
    `${written ? "" : "const "}${typeOf[dtype]}* __restrict__ p${i}`
  );
  const text = [
    `struct NAME_geometry {`,
    ...[...constants, ...functions].map((member) => `  ${member}`),
    "};",
    `KERNEL(THREADS) NAME(${list.join(", ")}) {`,
    `  ${template.replace("G", "NAME_geometry")}(${parameters.map((_, i) => `p${i}`).join(", ")});`,
    "}",
  ].join("\n");
  return { label, text, arguments: parameters, blocks: Math.ceil(count / THREADS) };
}

/** Sizes are unsigned. All else is signed, since positions in an image may be negative. */
const unsigned: ReadonlySet<string> = new Set(["count", "extent", "inner", "updates", "row", "offset"]);

function constant(name: string, value: number | boolean): string {
  if (typeof value === "boolean") return `static constexpr bool ${name} = ${value};`;
  return unsigned.has(name)
    ? `static constexpr u32 ${name} = ${value}u;`
    : `static constexpr int ${name} = ${value};`;
}

/** The number of neighbours that one access covers, in rows of `extent` elements of a value's dtype. */
export function lanesIn(extent: number, value: Aval): Lanes {
  return lanesOf(extent, widestOf([value]));
}

/** An argument that is a value read in its own dtype. */
export function operand(values: Values, id: number): Argument {
  return valueArgument(id, at(values, id).dtype);
}

/** An argument that is a value written in its own dtype. */
export function result(values: Values, id: number): Argument {
  return valueArgument(id, at(values, id).dtype, true);
}
