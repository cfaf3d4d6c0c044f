import { sizeOf } from "../../trace/dtype.ts";
import gatherText from "../../../kernels/webgpu/gather.wgsl" with { type: "text" };
import { type Call, stored, typeOf } from "./call.ts";
import type { Operation } from "./operation.ts";
import { specialise } from "./template.ts";
import type { Variant } from "./variant.ts";

/** Selects rows of a table by index. */
export function gather(i: Operation<"gather">, variant: Variant): Call[] {
  const [table, indices] = i.operands;
  const [rows = 0, ...row] = table.shape;
  const columns = sizeOf(row);
  const lanes = columns % 4 === 0 ? 4 : 1;
  const bytes = table.dtype === "u8";
  const element = bytes ? "u32" : typeOf(stored[table.dtype], lanes);
  return [{
    label: "gather",
    text: specialise(gatherText, {
      ...{ ROWS: rows, COLUMNS: columns / lanes, LANES: lanes, WIDE: lanes === 4 },
      ...{ BYTES: bytes, INDEX: stored[indices.dtype] },
    }),
    bindings: [
      { name: "table", type: element, slot: i.inputs[0], write: false },
      { name: "indices", type: stored[indices.dtype], slot: i.inputs[1], write: false },
      { name: "y", type: typeOf(stored[i.result.dtype], lanes), slot: i.output, write: true },
    ],
    count: sizeOf(indices.shape) * (columns / lanes),
    group: variant.group,
  }];
}
