import type { ValueId } from "../trace/program.ts";
import type { Recorded, Recording } from "./record.ts";

/** A batch norm in a recording: `(x − mean) · (rsqrt(variance + epsilon) · weight) + bias`. */
export interface BatchNorm {
  /** The values it computes with. */
  readonly operands: {
    readonly [K in "x" | "weight" | "bias" | "mean" | "variance"]: ValueId;
  };
  /** Added to the variance. */
  readonly epsilon: number;
}

/**
 * Finds the batch norms of a recording, by their results, whose vectors are all parameters. `nn.batchNorm` records them
 * in this form.
 */
export function batchNormsOf(
  { instructions, values }: Recording,
  isParameter: (value: ValueId) => boolean,
): ReadonlyMap<ValueId, BatchNorm> {
  const by = new Map<ValueId, Recorded>(instructions.map((each) => [each.output, each]));
  /** The value that is broadcast. */
  const base = (value: ValueId): ValueId => {
    const each = by.get(value);
    return each?.op === "broadcast" || each?.op === "reshape" ? base(each.inputs[0]) : value;
  };
  const operands = (value: ValueId, fn: string) => {
    const each = by.get(value);
    return each?.op === "binary" && each.attrs.fn === fn ? each.inputs : undefined;
  };
  const found = new Map<ValueId, BatchNorm>();
  for (const { output } of instructions) {
    const [scaled, bias] = operands(output, "add") ?? [];
    const [centred, scale] = (scaled === undefined ? undefined : operands(scaled, "mul")) ?? [];
    const [x, mean] = (centred === undefined ? undefined : operands(centred, "sub")) ?? [];
    const [rsqrt, weight] = (scale === undefined ? undefined : operands(base(scale), "mul")) ?? [];
    const root = rsqrt === undefined ? undefined : by.get(rsqrt);
    if (x === undefined || mean === undefined || bias === undefined || weight === undefined) continue;
    if (root?.op !== "unary" || root.attrs.fn !== "rsqrt") continue;
    const [variance, added] = operands(root.inputs[0], "add") ?? [];
    const epsilon = added === undefined ? undefined : by.get(added);
    if (variance === undefined || epsilon?.op !== "constant") continue;
    const [number] = epsilon.attrs.values;
    const vectors = { weight, bias: base(bias), mean: base(mean), variance };
    const shapes = Object.values(vectors).map((value) => values[value]?.shape);
    const channels = values[x]?.shape.at(-1);
    const fit = shapes.every((shape) => shape?.length === 1 && shape[0] === channels) &&
      Object.values(vectors).every(isParameter);
    if (typeof number !== "number" || !fit || (values[x]?.shape.length ?? 0) < 2) continue;
    found.set(output, { operands: { x, ...vectors }, epsilon: number });
  }
  return found;
}
