import { at } from "../base/at.ts";
import { isFloat } from "../trace/dtype.ts";
import type { OpName, OpOperands } from "../trace/ops.ts";
import type { Instruction, InstructionOf, ValueId } from "../trace/program.ts";
import { Tensor } from "../trace/tensor.ts";
import type { Region, Trace } from "../trace/trace.ts";
import { accumulate, rules } from "./rules.ts";

/**
 * Computes the cotangents of `wrt` from those of `outputs`: reverse-mode differentiation of the instructions recorded
 * since `start`, in one backward walk. It records the gradient as more instructions of the same trace. Values computed
 * before `start` count as constants unless they are among `wrt`.
 */
export function pullback(
  trace: Trace,
  start: number,
  outputs: readonly Tensor[],
  cotangents: readonly (Tensor | undefined)[],
  wrt: readonly Tensor[],
): (Tensor | undefined)[] {
  const { builder } = trace;
  const end = builder.instructions.length;
  const depends = dependents(builder.instructions, start, end, wrt);
  const cts = new Map<ValueId, Tensor>();
  const give = (value: Tensor, ct: Tensor | undefined) => {
    if (ct !== undefined && isFloat(value.dtype) && depends.has(value.id)) {
      cts.set(value.id, accumulate(cts.get(value.id), ct));
    }
  };
  outputs.forEach((output, i) => give(output, cotangents[i]));
  const regions = regionsByEnd(trace, start, end);

  for (let i = end - 1; i >= start; i--) {
    const region = regions.get(i + 1)?.find((region) => applies(region, builder.instructions, cts));
    if (region !== undefined) {
      const results = region.rule(region.outputs.map((output) => cts.get(output.id)));
      region.outputs.forEach((output) => cts.delete(output.id));
      region.inputs.forEach((input, k) => give(input, results[k]));
      i = region.start;
      continue;
    }
    const instruction = at(builder.instructions, i);
    const ct = cts.get(instruction.output);
    if (ct === undefined) continue;
    const inputs = instruction.inputs.map((id) => new Tensor(trace, id));
    const wanted = inputs.map((input) => isFloat(input.dtype) && depends.has(input.id));
    if (!wanted.includes(true)) continue;
    const results = applyRule(trace, instruction, inputs, ct, wanted);
    inputs.forEach((input, k) => wanted[k] && give(input, results[k]));
  }
  return wrt.map((tensor) => cts.get(tensor.id));
}

/** The cotangents of an instruction's operands. */
function applyRule<N extends OpName>(
  trace: Trace,
  { op, attrs, output }: InstructionOf<N>,
  operands: readonly Tensor[],
  ct: Tensor,
  wanted: readonly boolean[],
): readonly (Tensor | undefined)[] {
  const inputs = operands as OpOperands<Tensor>[N]; // as many as the instruction has
  return rules[op]({ ct, inputs, output: new Tensor(trace, output), attrs, wanted });
}

/** The values that depend on `wrt` through instructions `start` to `end` (exclusive). */
function dependents(
  instructions: readonly Instruction[],
  start: number,
  end: number,
  wrt: readonly Tensor[],
): Set<ValueId> {
  const depends = new Set(wrt.map((tensor) => tensor.id));
  for (const { op, inputs, output } of instructions.slice(start, end)) {
    if (op !== "stopGradient" && inputs.some((id) => depends.has(id))) depends.add(output);
  }
  return depends;
}

/** The regions within `start` to `end` (exclusive) by their end, outermost first. */
function regionsByEnd(trace: Trace, start: number, end: number): Map<number, Region[]> {
  const map = new Map<number, Region[]>();
  for (const region of trace.regions) {
    if (region.start < start || region.end > end) continue;
    const list = map.get(region.end);
    if (list === undefined) map.set(region.end, [region]);
    else list.push(region);
  }
  for (const list of map.values()) list.sort((a, b) => a.start - b.start);
  return map;
}

/**
 * Tests whether a region's own rule applies: cotangents have reached its results and no other value inside. (In a
 * gradient of a gradient they do reach other values, because the first gradient reads what the region computed.)
 */
function applies(
  region: Region,
  instructions: readonly Instruction[],
  cts: ReadonlyMap<ValueId, Tensor>,
): boolean {
  const results = new Set(region.outputs.map((output) => output.id));
  let reached = false;
  for (const { output } of instructions.slice(region.start, region.end)) {
    if (!cts.has(output)) continue;
    if (!results.has(output)) return false;
    reached = true;
  }
  return reached;
}
