import type { Initial } from "../../src/nn/initial.ts";
import type { Named } from "../../src/nn/named.ts";
import { type Shape, sizeOf } from "../../src/trace/dtype.ts";
import { HostArray } from "../../src/trace/host_array.ts";
import { treeFlatten, treeUnflatten } from "../../src/trace/tree.ts";
import { units } from "../fixtures/formula.ts";

/** The first values of the formula, again and again. */
function drawn(name: string, shape: Shape, each: number): Float32Array {
  const count = sizeOf(shape);
  const [scale, offset] = name.endsWith("running_var") || (shape.length === 1 && name.endsWith("weight"))
    ? [0.2, 1]
    : shape.length === 2 || shape.length === 4
    ? [Math.sqrt((shape.length === 4 ? 6 : 3) * shape[0]! / count), 0]
    : [0.2, 0];
  const period = units(name, Math.min(count, each), scale, offset);
  const values = new Float32Array(count);
  for (let from = 0; from < count; from += each) {
    values.set(period.subarray(0, Math.min(each, count - from)), from);
  }
  return values;
}

/** A tree with the formula's values in place of its starting ones. */
export function filled(tree: Named<Initial>, period: number): Named<HostArray> {
  const { leaves, paths, structure } = treeFlatten<Initial>(tree);
  const arrays = leaves.map(({ shape }, i) => new HostArray(drawn(paths[i]!, shape, period), shape));
  return treeUnflatten(structure, arrays) as Named<HostArray>;
}
