import { LocalgradError } from "../base/errors.ts";
import { at } from "../base/at.ts";
import { type Aval, bytesOf, formatAval, sizeOf } from "../trace/dtype.ts";
import type { Program } from "../trace/program.ts";
import { type DraftPlan, writesOf } from "./draft_plan.ts";
import type { MemoryReport, Precision, Step, Target } from "./plan.ts";
import { scopeOf } from "./report.ts";

/** @throws {LocalgradError} if a value is larger than the target allows. */
export function refuseLargeValues(draft: DraftPlan, target: Target): void {
  const { program, values, views } = draft;
  const batch = batchOf(program);
  const most = Math.min(target.maxValueBytes, target.segmentBytes);
  const check = (aval: Aval, what: string) => {
    const bytes = bytesOf(aval);
    if (bytes <= most) return;
    const fits = aval.shape[0] === batch ? Math.floor(most / (bytes / batch)) : 0;
    throw new LocalgradError(
      `${program.name}: ${what} ${formatAval(aval)} takes ${
        inWords(bytes)
      }, and ${target.name} holds at most ` +
        `${inWords(most)} in one array; ${fits > 0 ? `use a batch of at most ${fits}` : "use a smaller one"}`,
      { code: "tooLarge" },
    );
  };
  for (const { value, name } of program.inputs) check(at(values, value), `input ${name}`);
  for (const step of draft.steps) {
    const made = step.kind === "op" ? `the result of ${step.instruction.op}` : "the result of a fused kernel";
    const scope = scopeOf(step);
    for (const value of writesOf(step)) {
      check(at(values, at(views, value)), `${made}${scope === "" ? "" : ` in ${scope}`}`);
    }
  }
}

/** The most points of a kernel: every device counts them in signed 32-bit integers. */
const MOST_POINTS = 2 ** 31;

/** @throws {LocalgradError} if a kernel has more points than a device counts, which a reduction may without storing them. */
export function refuseManyPoints(name: string, steps: readonly Step[]): void {
  for (const step of steps) {
    if (step.kind === "op") continue;
    const points = sizeOf(step.kernel.space);
    if (points <= MOST_POINTS) continue;
    const where = step.scope === "" ? "" : ` in ${step.scope}`;
    throw new LocalgradError(
      `${name}: a reduction${where} goes over ${points} points, and kernels count at most ${MOST_POINTS}; ` +
        `reduce parts of it and combine their results`,
    );
  }
}

/** A way to have a precision that a target lacks, as the end of a message. */
export function precisionRemedy({ bf16Remedy }: Target, precision: Precision): string {
  const card = "a CUDA device of sm_80 or newer";
  return precision === "bf16" && bf16Remedy !== undefined ? `${bf16Remedy}, or ${card}` : `use ${card}`;
}

/** @throws {LocalgradError} if the program has a dtype that the target does not support. */
export function refuseDtypes({ name, values }: Program, target: Target): void {
  if (target.precisions.includes("bf16")) return;
  const value = values.find(({ dtype }) => dtype === "bf16");
  if (value !== undefined) {
    throw new LocalgradError(
      `${name} has values in bf16, such as ${formatAval(value)}, and ${target.name} computes in ${
        target.precisions.join(" or ")
      }; use precision f32, or ${precisionRemedy(target, "bf16")}`,
    );
  }
}

/** @throws {LocalgradError} if the plan needs more memory than the target has. */
export function refuseLargeTotal(program: Program, memory: MemoryReport, target: Target): void {
  if (memory.peakBytes <= target.maxTotalBytes) return;
  const batch = batchOf(program);
  const { parameters = 0, optimizer = 0, auxiliary = 0, state = 0, data = 0 } = memory.breakdown;
  const fixed = parameters + optimizer + auxiliary + state + data;
  const fits = Math.floor(batch * (target.maxTotalBytes - fixed) / (memory.peakBytes - fixed));
  const [largest] = memory.heldAtPeak;
  throw new LocalgradError(
    `${program.name} needs ${inWords(memory.peakBytes)}, and ${target.name} has ${
      inWords(target.maxTotalBytes)
    }; ${
      largest === undefined
        ? ""
        : `the largest temporary is ${largest.what} in ${largest.scope || "the program"}; `
    }${batch > 1 && fits > 0 ? `use a batch of at most about ${fits}` : "use a smaller model or batch"}`,
    { code: "tooLarge" },
  );
}

/** The leading extent that most inputs of category "inputs" share; 0 if there is none. */
function batchOf(program: Program): number {
  const counts = new Map<number, number>();
  for (const { value, category } of program.inputs) {
    const [extent = 1] = at(program.values, value).shape;
    if (category === "inputs" && extent > 1) counts.set(extent, (counts.get(extent) ?? 0) + 1);
  }
  const [most] = [...counts].sort(([a, m], [b, n]) => n - m || b - a);
  return most?.[0] ?? 0;
}

function inWords(bytes: number): string {
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(2)} GiB`;
  return bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${bytes} bytes`;
}
