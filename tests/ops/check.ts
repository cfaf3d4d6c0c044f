import type { Backend, DeviceBuffer, Executable } from "../../src/backends/backend.ts";
import type { Plan, Target } from "../../src/compile/plan.ts";
import { bytesOf, formatAval, hostArrays, type HostData } from "../../src/trace/dtype.ts";
import type { OpAttrs, OpName } from "../../src/trace/ops.ts";
import { type Program, ProgramBuilder, type ValueId } from "../../src/trace/program.ts";
import { type Bounded, evaluateBounded } from "./bounds.ts";
import type { Aval } from "../../src/trace/dtype.ts";

/** A program with inputs to run it on. */
export interface Case {
  /** What it is, for the message of a failure. */
  readonly label: string;
  /** The program. */
  readonly program: Program;
  /** One array per input. */
  readonly inputs: readonly HostData[];
}

/** A case of a single op. */
export function opCase<N extends OpName>(
  op: N,
  avals: readonly Aval[],
  attrs: OpAttrs[N],
  inputs: readonly HostData[],
): Case {
  const label = `${op}(${avals.map(formatAval).join(", ")}) ${
    JSON.stringify(attrs, (_, x) => typeof x === "number" && !Number.isFinite(x) ? String(x) : x)
  }`;
  return programCase(label, avals, inputs, (builder, values) => [builder.emit(op, values, attrs)]);
}

/** A case of a program that `build` records from its inputs. */
export function programCase(
  label: string,
  avals: readonly Aval[],
  inputs: readonly HostData[],
  build: (builder: ProgramBuilder, inputs: readonly ValueId[]) => readonly ValueId[],
): Case {
  const builder = new ProgramBuilder();
  const values = avals.map((aval, i) => builder.input(aval, `x${i}`));
  const outputs = build(builder, values).map((value, i) => ({ value, name: `y${i}` }));
  return { label, program: builder.finish("case", outputs), inputs };
}

/** What turns programs into plans. */
export type Planner = (program: Program, target: Target) => Plan;

/**
 * Runs cases on a backend and gives the elements of every result, or what was thrown; all are issued before any is
 * read.
 */
export async function runCases(
  backend: Backend,
  cases: readonly Case[],
  planner: Planner,
): Promise<(HostData[] | Error)[]> {
  const buffers = new Set<DeviceBuffer>();
  const executables: Executable[] = [];
  const allocate = (aval: Aval): DeviceBuffer => {
    const buffer = backend.allocate(bytesOf(aval), aval.dtype);
    buffers.add(buffer);
    return buffer;
  };
  const run = ({ program, inputs }: Case): Promise<HostData[]> => {
    const plan = planner(program, backend.target);
    const executable = backend.compile(plan);
    executables.push(executable);
    const given = program.inputs.map(({ value }, i) => {
      const buffer = allocate(program.values[value]);
      backend.write(buffer, bytesFor(inputs[i], buffer.bytes));
      return buffer;
    });
    const avals = program.outputs.map(({ value }) => program.values[value]);
    const made = avals.map((aval, i) => plan.donors[i] < 0 ? allocate(aval) : undefined);
    executable.run(given, made);
    return Promise.all(avals.map(async (aval, i) => {
      const bytes = await backend.read(made[i] ?? given[plan.donors[i]], bytesOf(aval));
      return new hostArrays[aval.dtype](bytes.buffer);
    }));
  };
  try {
    const runs = cases.map((each) => {
      try {
        return run(each);
      } catch (error) {
        return Promise.reject(error);
      }
    });
    const settled = await Promise.allSettled(runs);
    return settled.map((run) =>
      run.status === "fulfilled"
        ? run.value
        : run.reason instanceof Error
        ? run.reason
        : Error(String(run.reason))
    );
  } finally {
    await backend.finish();
    executables.forEach((executable) => executable.dispose());
    buffers.forEach((buffer) => backend.free(buffer));
  }
}

/** The bytes of an array, padded to a buffer's. */
function bytesFor(data: HostData, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return bytes;
}

/** What is wrong with `got`, or undefined where every element is within its bounds. */
export function difference(got: HostData, want: Bounded): string | undefined {
  const wrong: number[] = [];
  want.data.forEach((x, i) => {
    const near = Object.is(got[i], x) || got[i] === x || Math.abs(got[i] - x) <= want.error[i];
    if (!near) wrong.push(i);
  });
  if (wrong.length === 0) return undefined;
  const [first] = wrong;
  return `${wrong.length} of ${got.length} elements differ, first [${first}]: got ${got[first]}, ` +
    `want ${want.data[first]} ± ${want.error[first].toPrecision(2)}`;
}

/** Fails where a backend's results of any case are not within what f32 explains of the reference's. */
export async function checkCases(backend: Backend, cases: readonly Case[], planner: Planner): Promise<void> {
  const results = await runCases(backend, cases, planner);
  const faults: string[] = [];
  let elements = 0;
  let unbounded = 0;
  for (const [n, { label, program, inputs }] of cases.entries()) {
    const result = results[n];
    if (result instanceof Error) {
      faults.push(`${label}: threw ${result.stack?.split("\n").slice(0, 2).join("")}`);
      continue;
    }
    for (const [i, want] of evaluateBounded(program, inputs).entries()) {
      const fault = difference(result[i], want);
      if (fault !== undefined) faults.push(`${label}, result ${i}: ${fault}`);
      elements += want.data.length;
      unbounded += want.error.filter((error) => error === Infinity).length;
    }
  }
  if (faults.length > 0) {
    const more = faults.length > 8 ? `\n  … and ${faults.length - 8} more` : "";
    throw new Error(
      `${backend.name}: ${faults.length} results of ${cases.length} cases are wrong\n  ${
        faults.slice(0, 8).join("\n  ")
      }${more}`,
    );
  }
  if (unbounded > elements / 20) {
    throw new Error(`${unbounded} of ${elements} elements are not checked at all`);
  }
}
