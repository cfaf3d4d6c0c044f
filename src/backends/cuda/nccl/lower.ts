import { at } from "../../../base/at.ts";
import type { PendingStep } from "../../../compile/pending.ts";
import type { Plan, Step } from "../../../compile/plan.ts";
import { sizeOf } from "../../../trace/dtype.ts";
import type { InstructionOf } from "../../../trace/program.ts";
import { placeKey, placeOf } from "../../place.ts";
import { valueArgument } from "../call.ts";
import { kernelLaunches, type Launch } from "../launch.ts";
import { callTemplate } from "../template.ts";

/** The launches that start an exchange. The operand of a reduction or broadcast is first where the result will be. */
export function exchangeLaunches(plan: Plan, step: Step, pending: PendingStep): Launch[] {
  const { instruction } = pending;
  const start: Launch = { kind: "exchange", pending, step };
  if (instruction.op === "send" || instruction.op === "receive") return [start];
  const { inputs: [from], output: to } = instruction;
  const isThere = placeKey(placeOf(plan, step, from)) === placeKey(placeOf(plan, step, to));
  const copy: Launch[] = isThere ? [] : [{ kind: "copy", from, to, step }];
  return [...copy, ...keys(plan, step, pending, false), start];
}

/** The launches that make the work after them wait for an exchange, and have its result ready. */
export function joinLaunches(plan: Plan, step: Step, pending: PendingStep): Launch[] {
  if (pending.instruction.op === "send") return []; // nothing waits for a message to leave but the next one
  return [{ kind: "join", pending, step }, ...keys(plan, step, pending, true)];
}

/**
 * NCCL's maximum of floats leaves out NaN, so floats are compared as integers in the same order, as between processes of
 * the CPU (`mpi/encoding.ts`).
 */
function keys(plan: Plan, step: Step, { instruction }: PendingStep, back: boolean): Launch[] {
  if (instruction.op !== "allReduce" || !comparesFloats(instruction, plan)) return [];
  const { output, attrs: { fn } } = instruction;
  const nan = back ? 0 : fn === "max" ? 0x7fc00000 : 0xffc00000 | 0;
  const count = sizeOf(at(plan.values, output).shape);
  const call = callTemplate("order_keys", "order_keys<G>", { nan, back }, count, [
    valueArgument(output, "i32", true),
  ]);
  return kernelLaunches([call], step);
}

/** True for a maximum or minimum of floats, which is taken of integers. */
export function comparesFloats({ output, attrs: { fn } }: InstructionOf<"allReduce">, plan: Plan): boolean {
  return fn !== "sum" && at(plan.values, output).dtype === "f32";
}
