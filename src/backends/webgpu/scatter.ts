import { sizeOf } from "../../trace/dtype.ts";
import scatterText from "../../../kernels/webgpu/scatter.wgsl" with { type: "text" };
import { type Call, stored, typeOf } from "./call.ts";
import { addPartialSums, FEW, partialSumBytes, partsOf } from "./partial_sums.ts";
import type { Operation } from "./operation.ts";
import { specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

type Scatter = Operation<"scatterAdd">;

function extentsOf(i: Scatter, variant: Variant) {
  const size = sizeOf(i.result.shape), updates = sizeOf(i.operands[1].shape);
  const columns = size / i.attrs.rows;
  const lanes = columns % 4 === 0 ? 4 : 1;
  // Each update is an iteration; of a product's terms, four are.
  const parts = partsOf(size / lanes / variant.group, 4 * updates, size, variant);
  return { size, updates, columns, lanes, parts };
}

/** Adds rows by index. */
export function scatterAdd(i: Scatter, variant: Variant): Call[] {
  const { size, updates, columns, lanes, parts } = extentsOf(i, variant);
  const type = typeOf("f32", lanes), index = stored[i.operands[1].dtype];
  return [{
    label: "scatterAdd",
    text: specialise(scatterText, {
      ...{ ROWS: i.attrs.rows, COLUMNS: columns / lanes, UPDATES: updates, UNITS: size / lanes },
      ...{ LANES: lanes, T: type, INDEX: index, PARTS: parts, RUN: Math.ceil(updates / parts), FEW },
    }),
    bindings: [
      { name: "updates", type, slot: i.inputs[0], write: false },
      { name: "indices", type: index, slot: i.inputs[1], write: false },
      { name: "y", type, slot: parts > 1 ? "workspace" : i.output, write: true },
    ],
    count: size / lanes * parts,
    group: variant.group,
  }, ...addPartialSums(i.output, size, parts, variant)];
}

/** Bytes of workspace for the partial sums of a few rows from many updates. */
export function scatterWorkspace(i: Scatter, variant: Variant): number {
  const { parts, size } = extentsOf(i, variant);
  return partialSumBytes(parts, size);
}
