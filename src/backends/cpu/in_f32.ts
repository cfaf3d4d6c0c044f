import type { Node } from "../../compile/kernel.ts";
import { type Aval, type DType, sizeOf } from "../../trace/dtype.ts";
import { launchOf } from "./fused.ts";
import { elementSize } from "./fused_nest.ts";
import type { Launch, Launches, Operand } from "./routine.ts";

/** An operand or result of an instruction. */
export interface Port extends Aval {
  /** Its location. */
  readonly place: Operand;
}

/** Workspace offsets are multiples of this, a cache line. */
const ALIGNMENT = 64;

/**
 * An op on bf16 as the same op on f32: operands are widened in the workspace, and the result, computed there, is rounded
 * once. Operands of another dtype stay as they are.
 */
export function inF32(
  inputs: readonly Port[],
  output: Port,
  lower: (inputs: readonly Port[], output: Port) => Launches,
): Launches {
  if (![...inputs, output].some(({ dtype }) => dtype === "bf16")) return lower(inputs, output);
  /** With the f32 copies from byte `workspace` of the workspace on. */
  const withCopiesAt = (workspace: number): Launches => {
    const widened = (port: Port): Port => {
      if (port.dtype !== "bf16") return port;
      const place = { workspace };
      workspace += aligned(sizeOf(port.shape) * elementSize("f32"));
      return { ...port, dtype: "f32", place };
    };
    const wide = inputs.map(widened), result = widened(output);
    const { launches } = lower(wide, result);
    const before = inputs.flatMap((port, i) => converted(port, wide[i]));
    return { launches: [...before, ...launches, ...converted(result, output)], workspace };
  };
  // The op's own workspace, which depends on shapes alone, comes first.
  return withCopiesAt(aligned(lower(inputs, output).workspace));
}

const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Converts every element of `from`, unless `to` is the same. */
function converted(from: Port, to: Port | undefined): Launch[] {
  const size = sizeOf(from.shape);
  if (to === undefined || from.dtype === to.dtype || size === 0) return [];
  return [conversion(size, from.dtype, to.dtype, from.place, to.place)];
}

/** Converts `size` elements from one dtype to another. */
export function conversion(size: number, from: DType, to: DType, source: Operand, target: Operand): Launch {
  const view = { offset: 0, strides: [1] };
  const nodes: readonly Node[] = [
    { kind: "load", input: 0, view, dtype: from },
    { kind: "cast", args: [0], dtype: to },
  ];
  return launchOf({
    space: [size],
    reduced: [false],
    operands: [source, target],
    elementBytes: [elementSize(from), elementSize(to)],
    nodes,
    stores: [{ node: 1, operand: 1, view }],
    reductions: [],
    epilogue: [],
    epilogueStores: [],
  });
}
