import { ReferenceBackend } from "../src/backends/reference/backend.ts";
import type { Plan } from "../src/compile/plan.ts";
import { bytesOf, sizeOf } from "../src/trace/dtype.ts";

/** Runs a plan on the float64 reference; returns the elements of each result. */
export function runPlan(plan: Plan, inputs: readonly ArrayLike<number>[]): Float64Array[] {
  const backend = new ReferenceBackend();
  const executable = backend.compile(plan);
  const buffer = (value: number) => backend.allocate(bytesOf(plan.values[value]), plan.values[value].dtype);
  const given = plan.inputs.map(({ value }) => buffer(value));
  inputs.forEach((data, i) => backend.writeFloat64(given[i], data));
  const results = plan.outputs.map(({ value }, i) => plan.donors[i] >= 0 ? undefined : buffer(value));
  executable.run(given, results);
  return results.map((result, i) => {
    const data = backend.readFloat64(result ?? given[plan.donors[i]]);
    return data.subarray(0, sizeOf(plan.values[plan.outputs[i].value].shape));
  });
}

/** Tests whether results agree, apart from the rounding of literals to f32. */
export function agree(a: readonly Float64Array[], b: readonly Float64Array[]): boolean {
  return a.length === b.length && a.every((list, k) =>
    list.length === b[k].length &&
    list.every((x, i) => Object.is(x, b[k][i]) || Math.abs(x - b[k][i]) <= 1e-6 * (1 + Math.abs(x)))
  );
}
