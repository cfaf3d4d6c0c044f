import type { Plan } from "../../compile/plan.ts";
import { formatAval } from "../../trace/dtype.ts";
import type { Lowering } from "./lower.ts";
import type { Operand } from "./routine.ts";

/** The launches of a plan as text: the code's key, tasks, scratch memory and operands. */
export function kernelText(plan: Plan, lowering: Lowering): string {
  const operandText = (operand: Operand, index: number): string =>
    "workspace" in operand
      ? `#${index} workspace+${operand.workspace}`
      : `#${index} %${operand.value} ${formatAval(plan.values[operand.value])}`;
  const launches = plan.steps.flatMap((step) => {
    const scope = step.kind === "op" ? step.instruction.scope : step.scope;
    return lowering.launches(step, plan.values).launches.map(({ routine, operands }) =>
      `${scope === "" ? "" : `${scope}: `}${routine.key}\n` +
      `  tasks ${routine.tasks}, scratch ${routine.scratch} bytes; ${operands.map(operandText).join(", ")}`
    );
  });
  return launches.join("\n\n");
}
