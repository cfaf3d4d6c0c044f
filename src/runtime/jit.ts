import type { Backend, Executable } from "../backends/backend.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectObject, expectOptions, expectWhole, shown } from "../base/expect.ts";
import { compile } from "../compile/compile.ts";
import type { Plan, ProductPrecision, Target } from "../compile/plan.ts";
import { type Aval, formatAval, type HostData, requireAval, sameShape } from "../trace/dtype.ts";
import { dtypeOf, HostArray } from "../trace/host_array.ts";
import { NumericsCheck } from "../trace/numerics.ts";
import type { Category, Program, ProgramOutput } from "../trace/program.ts";
import { Tensor } from "../trace/tensor.ts";
import { Trace, withTrace } from "../trace/trace.ts";
import { type Tree, treeFlatten, treeUnflatten } from "../trace/tree.ts";
import { Device, DeviceArray } from "./arrays.ts";
import { Compiled, CompiledPrograms, type Traced } from "./compiled.ts";

/** What a traced function is called with: a device array, or host data that is uploaded for the call. A number becomes an f32 scalar. */
export type Argument<T> = [Tree<Tensor>] extends [T] ? Tree<DeviceArray | HostArray | HostData | number>
  : T extends Tensor ? DeviceArray | HostArray | HostData | number
  : { [K in keyof T]: Argument<T[K]> };

/** What a traced function gives: device arrays, owned by the caller. */
export type Result<T> = [Tree<Tensor>] extends [T] ? Tree<DeviceArray>
  : T extends Tensor ? DeviceArray
  : { [K in keyof T]: Result<T[K]> };

/** The shapes and dtypes of arguments, for planning without a device. Device arrays and host arrays serve as they are. */
export type Avals<T> = [Tree<Tensor>] extends [T] ? Tree<Aval>
  : T extends Tensor ? Aval
  : { [K in keyof T]: Avals<T[K]> };

/** Options of {@link jit}. */
export interface JitOptions {
  /** Where it runs; default: where its first device array is. */
  device?: Device;
  /** Arguments whose arrays are given away: results take over their memory, and they cannot be used afterwards. */
  donate?: readonly number[];
  /** What to call the program in messages; default: the function's name. */
  name?: string;
  /** What the memory of an input is for, by its path, such as `0.layer1.0.conv1.weight`. */
  categorize?: (path: string) => Category;
  /**
   * Computes cheap element-wise results again where the backward pass needs them, instead of holding them, where that
   * lowers the planned peak; results keep their bits. Default false.
   */
  recompute?: boolean;
  /** How products of f32 are computed, where the device has a choice (CUDA); default its own. */
  precision?: ProductPrecision;
  /** Names the first op that makes a NaN or an infinity, when a result is read. Slow; for debugging. */
  checkNumerics?: boolean;
  /**
   * How many compiled programs it keeps for a device, one for each combination of argument shapes; default 64. Beyond
   * that the one that was not used for longest is freed, and compiled anew should its shapes come again.
   */
  maxPrograms?: number;
}

/** A traced function. */
export interface Jitted<A extends readonly unknown[], R> {
  /** Runs it; traces and compiles first for shapes it has not seen. */
  (...args: { [K in keyof A]: Argument<A[K]> }): Result<R>;
  /** Inside another traced function it is traced along. */
  (...args: A): R;
  /** The program for arguments of these shapes; nothing is allocated. */
  program(...avals: { [K in keyof A]: Avals<A[K]> }): Program;
  /** The plan for arguments of these shapes on a kind of device; nothing is allocated. */
  plan(target: Target, ...avals: { [K in keyof A]: Avals<A[K]> }): Plan;
  /** Frees what it compiled. Closing the device does too. */
  dispose(): void;
}

/** Programs that a traced function keeps for a device, unless told otherwise. */
const MOST_PROGRAMS = 64;

/**
 * Makes a function of tensors into one that runs on a device: traced once for each combination of argument shapes into
 * a program, which is compiled and planned, then run at every call. Arguments and results may be trees.
 *
 * @example
 * ```ts
 * import { devices, jit, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * const scale = jit((x: { a: Tensor }, by: Tensor) => ({ a: x.a.mul(by) }), { device, donate: [0] });
 * const x = { a: device.array([1, 2]) };
 * const y = scale(x, 3); // x.a is donated: y.a has its memory
 * assertEquals([...await y.a.read()], [3, 6]);
 * y.a.dispose();
 * ```
 */
export function jit<R extends Tree<Tensor>>(
  f: (...args: Tensor[]) => R,
  options?: JitOptions,
): Jitted<Tensor[], R>;
/** The same for a function whose arguments are trees: annotate them. */
export function jit<A extends readonly unknown[], R>(
  f: (...args: A) => R,
  options?: JitOptions,
): Jitted<A, R>;
export function jit<A extends readonly unknown[], R>(
  f: (...args: A) => R,
  options: JitOptions = {},
): Jitted<A, R> {
  if (typeof f !== "function") throw new LocalgradError(`jit: takes a function of tensors, not ${shown(f)}`);
  expectOptions("jit", options, {
    device: "any?",
    donate: "array?",
    name: "string?",
    categorize: "function?",
    recompute: "boolean?",
    precision: "string?",
    checkNumerics: "boolean?",
    maxPrograms: "number?",
  });
  if (options.device !== undefined && !(options.device instanceof Device)) {
    throw new LocalgradError(`jit: ${shown(options.device)} is no device; open one with devices.open()`);
  }
  const name = options.name ?? (f.name === "" ? "program" : f.name);
  const planning = { recompute: options.recompute === true };
  const { maxPrograms = MOST_PROGRAMS } = options;
  expectWhole(`${name}: maxPrograms`, maxPrograms);
  const programs = new CompiledPrograms(maxPrograms);

  function call(...args: unknown[]): unknown {
    const flat = treeFlatten(args as Tree<unknown>);
    if (flat.leaves.some((leaf) => leaf instanceof Tensor)) return f(...args as unknown as A);
    const device = options.device ??
      flat.leaves.find((leaf): leaf is DeviceArray => leaf instanceof DeviceArray)?.device;
    if (device === undefined) {
      throw new LocalgradError(`${name}: no argument is on a device; pass { device } to jit`);
    }
    const avals = flat.leaves.map((leaf, i) => avalOf(leaf, name, flat.paths[i]));
    const key = JSON.stringify(flat.structure) + avals.map(formatAval).join();
    let compiled = programs.get(device, key);
    if (compiled === undefined) {
      const backend = device.use();
      for (const index of options.donate ?? []) expectWhole(`${name}: donate`, index, 0, args.length - 1);
      const traced = trace(f, name, options, flat.structure, flat.paths, avals);
      const plan = compile(traced.program, backend.target, planning);
      compiled = new Compiled(traced, device, plan, executable(backend, plan));
      programs.add(device, key, compiled);
    }
    return compiled.run(flat.leaves);
  }

  function executable(backend: Backend, plan: Plan): Executable {
    const { precision } = options;
    if (precision !== undefined && !backend.target.precisions.includes(precision)) {
      throw new LocalgradError(
        `${name}: device ${backend.name} has no products in ${precision}; leave precision out`,
      );
    }
    return backend.compile(plan, precision);
  }

  function program(...args: unknown[]): Program {
    const { structure, paths, leaves } = treeFlatten<Aval>(args as Tree<Aval>, isAval);
    const avals = leaves.map((aval, i) => {
      requireAval(aval, `${name}: argument ${paths[i]}`);
      return { shape: aval.shape, dtype: aval.dtype };
    });
    return trace(f, name, options, structure, paths, avals).program;
  }

  return Object.assign(call, {
    program,
    plan: (target: Target, ...args: unknown[]) => {
      expectTarget(name, target);
      return compile(program(...args), target, planning);
    },
    dispose: () => programs.dispose(),
  }) as unknown as Jitted<A, R>;
}

function trace(
  f: (...args: never) => unknown,
  name: string,
  options: JitOptions,
  structure: Tree<number>,
  paths: readonly string[],
  avals: readonly Aval[],
): Traced {
  const trace = new Trace();
  const donated = paths.map((path) => options.donate?.includes(Number.parseInt(path)) ?? false);
  const tensors = paths.map((path, i) => {
    return new Tensor(
      trace,
      trace.builder.input(avals[i], path, options.categorize?.(path) ?? "inputs", donated[i]),
    );
  });
  return withTrace(trace, () => {
    const check = options.checkNumerics === true ? new NumericsCheck(trace) : undefined;
    const args = treeUnflatten(structure, tensors) as never[];
    const result = withArguments(f, args, name);
    const flat = treeFlatten<Tensor>(result as Tree<Tensor>);
    for (const [i, leaf] of flat.leaves.entries()) {
      if (!(leaf instanceof Tensor) || leaf.trace !== trace) {
        const where = flat.paths[i] === "" ? "its result" : `its result at "${flat.paths[i]}"`;
        throw new LocalgradError(
          `${name}: ${where} is not a tensor of this function; give tensors back, in trees`,
        );
      }
    }
    const outputs = matchDonors(flat, paths, avals, donated);
    if (check !== undefined) outputs.push({ value: check.first.id, name: "numerics" });
    return { program: trace.builder.finish(name, outputs), structure: flat.structure, check };
  });
}

/** Calls `f`; what goes wrong in it where it has too few arguments is said to come of that. */
function withArguments(f: (...args: never) => unknown, args: never[], name: string): unknown {
  try {
    return f(...args as never);
  } catch (error) {
    if (!(error instanceof TypeError) || args.length >= f.length) throw error;
    throw new LocalgradError(`${name}: takes ${f.length} arguments, and was given ${args.length}`, {
      cause: error,
    });
  }
}

/** Gives each result a donated input of its shape and dtype: the one of the same path first, then any that is left. */
function matchDonors(
  results: { leaves: readonly Tensor[]; paths: readonly string[] },
  paths: readonly string[],
  avals: readonly Aval[],
  donated: readonly boolean[],
): ProgramOutput[] {
  const free = new Set(donated.flatMap((yes, i) => yes ? [i] : []));
  const fits = (i: number, leaf: Tensor) =>
    avals[i].dtype === leaf.dtype && sameShape(avals[i].shape, leaf.shape);
  const donors = new Map<number, number>();
  const byTail = new Map([...free].map((i) => [tail(paths[i]), i]));
  for (const exact of [true, false]) {
    results.leaves.forEach((leaf, k) => {
      if (free.size === 0 || donors.has(k)) return;
      const same = byTail.get(tail(results.paths[k])) ?? byTail.get(results.paths[k]);
      const donor = exact ? same : [...free].find((i) => fits(i, leaf));
      if (donor === undefined || !free.has(donor) || !fits(donor, leaf)) return;
      donors.set(k, donor);
      free.delete(donor);
    });
  }
  return results.leaves.map((leaf, k) => {
    const donor = donors.get(k);
    return { value: leaf.id, name: results.paths[k], ...(donor === undefined ? {} : { donor }) };
  });
}

/** A path without its first step: the argument's number, or the name under which the result is given back. */
function tail(path: string): string {
  const dot = path.indexOf(".");
  return dot < 0 ? "" : path.slice(dot + 1);
}

function avalOf(leaf: unknown, name: string, path: string): Aval {
  if (leaf instanceof DeviceArray || leaf instanceof HostArray) {
    return { shape: leaf.shape, dtype: leaf.dtype };
  }
  if (typeof leaf === "number") return { shape: [], dtype: "f32" };
  if (ArrayBuffer.isView(leaf) && !(leaf instanceof DataView)) {
    const data = leaf as HostData;
    return { shape: [data.length], dtype: dtypeOf(data) };
  }
  throw new LocalgradError(
    `${name}: argument ${path} is ${
      leaf === null ? "null" : typeof leaf
    }; pass a device array, typed array or number`,
  );
}

/** Refuses what is no kind of device. */
function expectTarget(name: string, target: Target): void {
  expectObject(`${name}: the target (of devices.target)`, target as Pick<Target, "name" | "precisions">, {
    name: "string",
    precisions: "array",
  });
}

/** A shape and dtype is a plain object, which would pass for a node of the tree. */
function isAval(node: unknown): node is Aval {
  return typeof node === "object" && node !== null && "shape" in node && "dtype" in node &&
    Array.isArray(node.shape) && typeof node.dtype === "string";
}
