import type { Backend, DeviceBuffer, Executable } from "../../src/backends/backend.ts";
import type { Plan, ProductPrecision, Target } from "../../src/compile/plan.ts";
import { ReferenceBackend } from "../../src/backends/reference/backend.ts";
import { fromBf16 } from "../../src/trace/bf16.ts";
import { bytesOf, formatAval, hostArrays, type HostData } from "../../src/trace/dtype.ts";
import type { OpAttrs, OpName } from "../../src/trace/ops.ts";
import { type Program, ProgramBuilder, type ValueId } from "../../src/trace/program.ts";
import type { KernelCase } from "./cases/kernels.ts";
import { type RangeCase, wanted } from "./cases/range.ts";
import { type Bounded, evaluateBounded } from "./bounds.ts";
import type { Aval } from "../../src/trace/dtype.ts";

/** A program with inputs to run it on. */
export interface Case {
  /** Its description, for messages. */
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
function programCase(
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

/** A function that turns programs into plans. */
export type Planner = (program: Program, target: Target) => Plan;

/** A plan with inputs to run it on. */
export interface Run {
  readonly plan: Plan;
  readonly inputs: readonly HostData[];
}

/**
 * Runs plans on a backend and returns the elements of every result, or the error. All plans are compiled first, and
 * each runs twice, first on reversed inputs: so the memory that a kernel might assume to be zero is not, and the arena
 * has grown and been used by other plans. All runs are issued before any result is read.
 */
export async function runAll(
  backend: Backend,
  runs: readonly (() => Run)[],
): Promise<(HostData[] | Error)[]> {
  const prepared = runs.map((prepare) => attempt(() => new Prepared(backend, prepare())));
  const each = <T>(f: (prepared: Prepared) => T) =>
    prepared.map((run) => run instanceof Error ? run : attempt(() => f(run)));
  let results: (HostData[] | Error)[] = [];
  try {
    const failed = each((run) => run.run((data) => data.toReversed()));
    const reads = prepared.map((run, i) => {
      const before = failed[i];
      if (run instanceof Error) return run;
      if (before instanceof Error) return before;
      return attempt(() => {
        run.run((data) => data);
        return run.read().catch(asError);
      });
    });
    return results = await Promise.all(reads);
  } finally {
    // A lost device fails here too; what failed first says more.
    await backend.finish().catch((error) => {
      if (!results.some((result) => result instanceof Error)) throw error;
    });
    each((run) => run.dispose());
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function attempt<T>(f: () => T): T | Error {
  try {
    return f();
  } catch (error) {
    return asError(error);
  }
}

/** A compiled plan with buffers for its inputs and results. */
class Prepared {
  readonly #backend: Backend;
  readonly #plan: Plan;
  readonly #data: readonly HostData[];
  readonly #inputs: readonly DeviceBuffer[];
  readonly #outputs: readonly (DeviceBuffer | undefined)[];
  readonly #executable: Executable;

  constructor(backend: Backend, { plan, inputs }: Run) {
    const allocate = (aval: Aval) => backend.allocate(bytesOf(aval), aval.dtype);
    this.#backend = backend;
    this.#plan = plan;
    this.#data = inputs;
    this.#executable = backend.compile(plan);
    this.#inputs = plan.inputs.map(({ value }) => allocate(plan.values[value]));
    this.#outputs = plan.outputs.map(({ value }, i) =>
      plan.donors[i] < 0 ? allocate(plan.values[value]) : undefined
    );
  }

  run(given: (data: HostData) => HostData): void {
    this.#inputs.forEach((buffer, i) => {
      this.#backend.write(buffer, bytesFor(given(this.#data[i]), buffer.bytes));
    });
    this.#executable.run(this.#inputs, this.#outputs);
  }

  read(): Promise<HostData[]> {
    const { outputs, values, donors } = this.#plan;
    return Promise.all(outputs.map(async ({ value }, i) => {
      const { dtype } = values[value];
      const buffer = this.#outputs[i] ?? this.#inputs[donors[i]];
      const bytes = await this.#backend.read(buffer, bytesOf(values[value]));
      return new hostArrays[dtype](bytes.buffer);
    }));
  }

  dispose(): void {
    this.#executable.dispose();
    for (const buffer of [...this.#inputs, ...this.#outputs]) {
      if (buffer !== undefined) this.#backend.free(buffer);
    }
  }
}

/** The bytes of an array, padded to a buffer's. */
function bytesFor(data: HostData, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return bytes;
}

/** Describes the faults of `got`; undefined if every element is within its bounds. */
export function difference(data: HostData | Float64Array, want: Bounded): string | undefined {
  const got = data instanceof Uint16Array ? fromBf16(data) : data;
  const wrong: number[] = [];
  want.data.forEach((x, i) => {
    const near = Object.is(got[i], x) || got[i] === x || Math.abs(got[i] - x) <= want.error[i] ||
      want.error[i] === Infinity;
    if (!near) wrong.push(i);
  });
  if (wrong.length === 0) return undefined;
  const [first] = wrong;
  return `${wrong.length} of ${got.length} elements differ, first [${first}]: got ${got[first]}, ` +
    `want ${want.data[first]} ± ${want.error[first].toPrecision(2)}`;
}

/** Fails if two runs of the same plans do not give the same bits. */
export function assertSameBits(
  a: readonly (HostData[] | Error)[],
  b: readonly (HostData[] | Error)[],
): void {
  const words = (data: HostData) => new Uint32Array(data.buffer);
  a.forEach((results, run) => {
    const others = b[run];
    if (results instanceof Error) throw results;
    if (others instanceof Error) throw others;
    results.forEach((data, i) => {
      const [x, y] = [words(data), words(others[i])];
      const at = x.findIndex((word, k) => word !== y[k]);
      if (at >= 0) {
        throw new Error(`run ${run}, result ${i}, element ${at}: ${data[at]} and ${others[i][at]}`);
      }
    });
  });
}

/** The results of cases that are run again, in another way. */
const known = new WeakMap<Case, { readonly products: ProductPrecision; readonly want: Bounded[] }>();

function wantedOf(test: Case, products: ProductPrecision): Bounded[] {
  const before = known.get(test);
  if (before?.products === products) return before.want;
  const want = evaluateBounded(test.program, test.inputs, products);
  known.set(test, { products, want });
  return want;
}

/** Fails if a backend's results differ from the reference's by more than rounding in f32, or in tf32, explains. */
export async function checkCases(
  backend: Backend,
  cases: readonly Case[],
  planner: Planner,
  products: ProductPrecision = "f32",
): Promise<void> {
  const results = await runAll(
    backend,
    cases.map(({ program, inputs }) => () => ({ plan: planner(program, backend.target), inputs })),
  );
  let elements = 0;
  let unbounded = 0;
  const faults = cases.flatMap((test, n) => {
    const want = wantedOf(test, products);
    for (const { data, error } of want) {
      elements += data.length;
      unbounded += error.filter((e) => e === Infinity).length;
    }
    return faultsOf(test.label, results[n], want);
  });
  report(backend, cases.length, faults);
  if (unbounded > elements / 20) {
    throw new Error(`${unbounded} of ${elements} elements are not checked at all`);
  }
}

/** Fails if a backend's results differ in any bit from the reference's, for kernels with exact results. */
export async function checkKernels(backend: Backend, cases: readonly KernelCase[]): Promise<void> {
  const runs = cases.map((run) => () => run);
  const results = await runAll(backend, runs);
  const exact = await runAll(new ReferenceBackend(), runs);
  const faults = cases.flatMap(({ label }, n) => {
    const want = exact[n];
    if (want instanceof Error) throw want;
    return faultsOf(
      label,
      results[n],
      want.map((array) => ({ data: Float64Array.from(array), error: new Float64Array(array.length) })),
    );
  });
  report(backend, cases.length, faults);
}

/**
 * Fails if values or gradients over the whole range of f32 are wrong, the sign of a zero included. `webgpu` allows what
 * WGSL leaves open: denormals may be flushed to zero, and the sign of a zero is not checked.
 */
export async function checkRange(
  backend: Backend,
  cases: readonly RangeCase[],
  planner: Planner,
  webgpu: boolean,
): Promise<void> {
  const results = await runAll(
    backend,
    cases.map(({ program, inputs }) => () => ({ plan: planner(program, backend.target), inputs })),
  );
  const faults = cases.flatMap((test, n) => {
    const result = results[n];
    if (result instanceof Error) return faultsOf(test.label, result, []);
    const faults = faultsOf(test.label, result, [wanted(test, result[0], webgpu)]);
    return webgpu ? faults : [...faults, ...wrongZeros(test, result[0])];
  });
  report(backend, cases.length, faults);
}

/** Zeros with the wrong sign among results for zero arguments. */
function wrongZeros({ label, inputs: [x], want: { data } }: RangeCase, got: HostData): string[] {
  const text = (zero: number) => Object.is(zero, -0) ? "−0" : String(zero);
  return [...got].flatMap((y, i) =>
    x[i] === 0 && data[i] === 0 && !Object.is(y, data[i])
      ? [`${label}, of ${text(x[i])}: got ${text(y)}, want ${text(data[i])}`]
      : []
  );
}

function faultsOf(label: string, result: HostData[] | Error, want: readonly Bounded[]): string[] {
  if (result instanceof Error) return [`${label}: threw ${result.stack?.split("\n").slice(0, 2).join("")}`];
  return want.flatMap((bounded, i) => {
    const fault = difference(result[i], bounded);
    return fault === undefined ? [] : [`${label}, result ${i}: ${fault}`];
  });
}

function report(backend: Backend, cases: number, faults: readonly string[]): void {
  if (faults.length === 0) return;
  const more = faults.length > 8 ? `\n  … and ${faults.length - 8} more` : "";
  throw new Error(
    `${backend.name}: ${faults.length} results of ${cases} cases are wrong\n  ${
      faults.slice(0, 8).join("\n  ")
    }${more}`,
  );
}
