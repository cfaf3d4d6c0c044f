import { isFloat } from "../trace/dtype.ts";
import type { Instruction, ValueId } from "../trace/program.ts";
import { Tensor } from "../trace/tensor.ts";
import type { Region, Trace } from "../trace/trace.ts";
import { accumulate, type Rule, rules } from "./rules.ts";

/**
 * Cotangents of `wrt` given those of `outputs`, over the instructions recorded since `start`. Walks them backwards
 * once; the gradient is more instructions of the same trace. Values computed before `start` count as constants unless
 * they are among `wrt`.
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
    const instruction = builder.instructions[i];
    const ct = cts.get(instruction.output);
    if (ct === undefined) continue;
    const inputs = instruction.inputs.map((id) => new Tensor(trace, id));
    const wanted = inputs.map((input) => isFloat(input.dtype) && depends.has(input.id));
    if (!wanted.includes(true)) continue;
    // The table is keyed by the op, so that rule and attributes belong together; TypeScript cannot see it.
    const rule = rules[instruction.op] as Rule<typeof instruction.op>;
    const context = {
      ct,
      inputs,
      output: new Tensor(trace, instruction.output),
      attrs: instruction.attrs,
      wanted,
    };
    const results = rule(context as never);
    inputs.forEach((input, k) => wanted[k] && give(input, results[k]));
  }
  return wrt.map((tensor) => cts.get(tensor.id));
}

/** The values that depend on `wrt` through instructions `start … end`. */
function dependents(
  instructions: readonly Instruction[],
  start: number,
  end: number,
  wrt: readonly Tensor[],
): Set<ValueId> {
  const depends = new Set(wrt.map((tensor) => tensor.id));
  for (let i = start; i < end; i++) {
    const { op, inputs, output } = instructions[i];
    if (op !== "stopGradient" && inputs.some((id) => depends.has(id))) depends.add(output);
  }
  return depends;
}

/** Regions within `start … end` by where they end, outermost first. */
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
 * A region's own rule holds where cotangents have reached its results and nothing else inside of it. (They do reach
 * the inside in a gradient of a gradient: the first gradient reads what the region computed.)
 */
function applies(
  region: Region,
  instructions: readonly Instruction[],
  cts: ReadonlyMap<ValueId, Tensor>,
): boolean {
  const results = new Set(region.outputs.map((output) => output.id));
  let reached = false;
  for (let i = region.start; i < region.end; i++) {
    const { output } = instructions[i];
    if (!cts.has(output)) continue;
    if (!results.has(output)) return false;
    reached = true;
  }
  return reached;
}
