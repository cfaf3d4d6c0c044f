import { type Aval, sizeOf } from "../../trace/dtype.ts";
import type { InstructionOf } from "../../trace/program.ts";
import scatterText from "../../../kernels/webgpu/scatter.wgsl" with { type: "text" };
import { type Call, stored, typeOf } from "./call.ts";
import { addPartialSums, FEW, partialSumBytes, partsOf } from "./partial_sums.ts";
import { specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

type Scatter = InstructionOf<"scatterAdd">;
type Values = readonly Aval[];

function extentsOf(i: Scatter, values: Values, variant: Variant) {
  const size = sizeOf(values[i.output].shape), updates = sizeOf(values[i.inputs[1]].shape);
  const columns = size / i.attrs.rows;
  const width = columns % 4 === 0 ? 4 : 1;
  // Each update is an iteration; of a product's terms, four are.
  const parts = partsOf(size / width / variant.group, 4 * updates, size, variant);
  return { size, updates, columns, width, parts };
}

/** Adds rows by index. */
export function scatterAdd(i: Scatter, values: Values, variant: Variant): Call[] {
  const { size, updates, columns, width, parts } = extentsOf(i, values, variant);
  const type = typeOf("f32", width), index = stored[values[i.inputs[1]].dtype];
  return [{
    label: "scatterAdd",
    text: specialise(scatterText, {
      ...{ ROWS: i.attrs.rows, COLUMNS: columns / width, UPDATES: updates, UNITS: size / width },
      ...{ WIDTH: width, T: type, INDEX: index, PARTS: parts, RUN: Math.ceil(updates / parts), FEW },
    }),
    bindings: [
      { name: "updates", type, slot: i.inputs[0], write: false },
      { name: "indices", type: index, slot: i.inputs[1], write: false },
      { name: "y", type, slot: parts > 1 ? "workspace" : i.output, write: true },
    ],
    count: size / width * parts,
    group: variant.group,
  }, ...addPartialSums(i.output, size, parts, variant)];
}

/** Bytes of workspace for the partial sums of a few rows from many updates. */
export function scatterWorkspace(i: Scatter, values: Values, variant: Variant): number {
  const { parts, size } = extentsOf(i, values, variant);
  return partialSumBytes(parts, size);
}
