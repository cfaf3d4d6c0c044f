import type { Backend, DeviceBuffer } from "../src/backends/backend.ts";
import type { Kernel } from "../src/compile/kernel.ts";
import type { Location, Plan, Step, Target } from "../src/compile/plan.ts";
import { type Aval, bytesOf, type DType, hostArrays, type HostData, sizeOf } from "../src/trace/dtype.ts";
import type { OpAttrs, OpName } from "../src/trace/ops.ts";
import type { StructuredInstruction } from "../src/trace/program.ts";
import { shapeRules } from "../src/trace/shape_rules.ts";

/** A plan of one step whose inputs and results are the caller's, for tests. */
export function planOf(
  step: Step,
  inputs: readonly Aval[],
  outputs: readonly Aval[],
  workspace: Target["workspace"],
  donors: readonly number[] = outputs.map(() => -1),
): Plan {
  const values = [...inputs, ...outputs];
  const bytes = workspace(step, values);
  const locations: Location[] = [
    ...inputs.map((_, index): Location => ({ kind: "input", index })),
    ...outputs.map((_, index): Location => ({ kind: "output", index })),
  ];
  return {
    name: "test",
    values,
    inputs: inputs.map((_, value) => ({ value, name: `input ${value}`, category: "inputs", donated: false })),
    outputs: outputs.map((_, i) => ({ value: inputs.length + i, name: `result ${i}` })),
    donors,
    steps: [bytes > 0 ? { ...step, workspace: { offset: 0, bytes } } : step],
    locations,
    constants: [],
    arenaBytes: bytes,
    memory: { peakBytes: bytes, arenaBytes: bytes, breakdown: {}, heldAtPeak: [], timeline: [] },
  };
}

/** Runs a plan on data and returns its results. */
async function runPlan(backend: Backend, plan: Plan, data: readonly HostData[]): Promise<HostData[]> {
  const allocate = (value: number): DeviceBuffer =>
    backend.allocate(bytesOf(plan.values[value]), plan.values[value].dtype);
  const inputs = plan.inputs.map(({ value }) => allocate(value));
  inputs.forEach((buffer, i) => {
    const bytes = new Uint8Array(buffer.bytes);
    bytes.set(new Uint8Array(data[i].buffer, data[i].byteOffset, data[i].byteLength));
    backend.write(buffer, bytes);
  });
  const outputs = plan.outputs.map(({ value }, i) => plan.donors[i] < 0 ? allocate(value) : undefined);
  const executable = backend.compile(plan);
  executable.run(inputs, outputs);
  const results = await Promise.all(plan.outputs.map(async ({ value }, i) => {
    const { dtype, shape } = plan.values[value];
    const bytes = await backend.read(outputs[i] ?? inputs[plan.donors[i]], bytesOf(plan.values[value]));
    return new hostArrays[dtype](bytes.buffer, 0, sizeOf(shape));
  }));
  executable.dispose();
  for (const buffer of [...inputs, ...outputs]) if (buffer) backend.free(buffer);
  return results;
}

/** Runs one op. */
export async function runOp<N extends OpName>(
  backend: Backend,
  op: N,
  attrs: OpAttrs[N],
  avals: readonly Aval[],
  data: readonly HostData[],
): Promise<HostData> {
  const result = shapeRules[op](avals, attrs);
  const instruction = { op, attrs, inputs: avals.map((_, i) => i), output: avals.length, scope: "" };
  const step: Step = { kind: "op", instruction: instruction as unknown as StructuredInstruction };
  return (await runPlan(backend, planOf(step, avals, [result], backend.target.workspace), data))[0];
}

/** Runs one fused kernel. */
export function runFused(
  backend: Backend,
  kernel: Kernel,
  inputs: readonly Aval[],
  outputs: readonly Aval[],
  data: readonly HostData[],
  donors?: readonly number[],
): Promise<HostData[]> {
  return runPlan(
    backend,
    planOf({ kind: "kernel", kernel, scope: "" }, inputs, outputs, backend.target.workspace, donors),
    data,
  );
}

/** Repeatable numbers in [−1, 1), or small integers. */
export function sample(aval: Aval, seed: number): HostData {
  let state = seed * 2654435761 >>> 0;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const data = new hostArrays[aval.dtype](sizeOf(aval.shape));
  const draw: { readonly [D in DType]: () => number } = {
    bf16: () => Math.floor(next() * 2 ** 16), // any bits
    f32: () => next() * 2 - 1,
    i32: () => Math.floor(next() * 19) - 9,
    u32: () => Math.floor(next() * 10),
    bool: () => next() < 0.5 ? 0 : 1,
    u8: () => Math.floor(next() * 256),
  };
  for (let i = 0; i < data.length; i++) data[i] = draw[aval.dtype]();
  return data;
}
