import type { Plan } from "../../compile/plan.ts";
export function kernelText(plan: Plan): string {
  return plan.name;
}
