import type { Backend, Executable } from "../backends/backend.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectObject, expectOptions, expectWhole, isWhole, shown } from "../base/expect.ts";
import { compile } from "../compile/compile.ts";
import type { Plan, ProductPrecision, Target } from "../compile/plan.ts";
import { expectRecompute, type Recompute } from "../compile/recomputation.ts";
import { type Aval, type HostData, requireAval } from "../trace/dtype.ts";
import type { HostArray } from "../trace/host_array.ts";
import { NumericsCheck } from "../trace/numerics.ts";
import type { Category, Program } from "../trace/program.ts";
import { arrayText, Tensor } from "../trace/tensor.ts";
import { Trace, withTrace } from "../trace/trace.ts";
import { type Tree, treeFlatten, treeUnflatten } from "../trace/tree.ts";
import { argumentsOf } from "./arguments.ts";
import { Device, type DeviceArray } from "./arrays.ts";
import { Compiled, CompiledPrograms, type Traced } from "./compiled.ts";
import { matchDonors, type NamedTensor } from "./donation.ts";
import { Held } from "./held.ts";

/**
 * An argument of a traced function: for each tensor a device array, or host data that is uploaded for the call. A number
 * becomes an f32 scalar, a typed array an array of one axis.
 */
export type Argument<T> = [Tree<Tensor>] extends [T] ? Tree<DeviceArray | HostArray | HostData | number>
  : T extends Tensor ? DeviceArray | HostArray | HostData | number
  : { [K in keyof T]: Argument<T[K]> };

/** The result of a traced function: for each tensor a device array, which the caller owns. */
export type Result<T> = [Tree<Tensor>] extends [T] ? Tree<DeviceArray>
  : T extends Tensor ? DeviceArray
  : { [K in keyof T]: Result<T[K]> };

/**
 * An argument for planning without a device: for each tensor its shape and dtype. Device arrays and host arrays serve as
 * they are.
 */
export type Avals<T> = [Tree<Tensor>] extends [T] ? Tree<Aval>
  : T extends Tensor ? Aval
  : { [K in keyof T]: Avals<T[K]> };

/** Options of {@link jit}. */
export interface JitOptions {
  /** The device on which it runs; default: that of its first device array. */
  device?: Device;
  /** Positions of donated arguments: results take over the memory of their arrays, which can no longer be used. */
  donate?: readonly number[];
  /** The name of the program in messages; default: the function's name. */
  name?: string;
  /** Returns the purpose of an input's memory from its path, such as `0.layer1.0.conv1.weight`; default "inputs". */
  categorize?: (path: string) => Category;
  /**
   * What to recompute in the backward pass instead of keeping it in memory. `true`: cheap element-wise results (batch norm,
   * ReLU), if that lowers the planned peak; `{ limit }`: only so much, but also convolutions and products, that the plan
   * fits into this many bytes, or comes as close as it can. The results have the same bits. Default false.
   */
  recompute?: Recompute;
  /** The arithmetic of f32 products, on devices with a choice (CUDA); default: that of the device. */
  precision?: ProductPrecision;
  /** Called with each program before it is compiled and run for the first time; may refuse it by an error. */
  check?: (program: Program) => void;
  /** Makes reading a result fail if any op gave a NaN or an infinity, and name the first one. Slow; for debugging. */
  checkNumerics?: boolean;
  /**
   * The number of compiled programs to keep for each device, one for each combination of argument shapes; default 64.
   * Beyond that the one unused for longest is freed, and compiled again if its shapes recur.
   */
  maxPrograms?: number;
}

/** A traced function. */
export interface Jitted<A extends readonly unknown[], R> {
  /** Runs it. Traces and compiles it first for new shapes. */
  (...args: { [K in keyof A]: Argument<A[K]> }): Result<R>;
  /** Called with tensors, inside another traced function, it becomes part of that. */
  (...args: A): R;
  /** The program for arguments of these shapes. Allocates nothing. */
  program(...avals: { [K in keyof A]: Avals<A[K]> }): Program;
  /** The plan for arguments of these shapes on a kind of device, see {@link devices.target}. Allocates nothing. */
  plan(target: Target, ...avals: { [K in keyof A]: Avals<A[K]> }): Plan;
  /** Frees the compiled programs, as closing the device does. */
  dispose(): void;
}

/** A traced function as the implementation sees it: the types of arguments and results are the caller's concern. */
interface Untyped {
  (...args: never[]): unknown;
  program(...avals: never[]): Program;
  plan(target: Target, ...avals: never[]): Plan;
  dispose(): void;
}

type UntypedFunction = (...args: unknown[]) => unknown;

/** The default number of programs to keep for each device. */
const MOST_PROGRAMS = 64;

/**
 * Compiles a function of tensors for a device. The function is traced into a program once for each combination of
 * argument shapes and dtypes; every call then runs the compiled program. Arguments and results may be trees.
 *
 * Calls throw a {@link LocalgradError} if an argument is not an array, is gone, or is on another device, or if a result is
 * not a tensor.
 *
 * @param f Records ops on symbolic tensors. It must depend on nothing but its arguments and their shapes.
 * @throws {LocalgradError} if an option is unknown or of the wrong kind.
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
export function jit<A extends readonly Tensor[], R extends Tree<Tensor>>(
  f: (...args: A) => R,
  options?: JitOptions,
): Jitted<A, R>;
/** For a function whose arguments are trees: annotate their types. */
export function jit<A extends readonly unknown[], R>(
  f: (...args: A) => R,
  options?: JitOptions,
): Jitted<A, R>;
export function jit(typed: (...args: never[]) => unknown, options: JitOptions = {}): Untyped {
  if (typeof typed !== "function") {
    throw new LocalgradError(`jit: takes a function of tensors, not ${shown(typed)}`);
  }
  const f = typed as UntypedFunction; // its callers see the types, in Jitted
  expectOptions("jit", options, {
    device: "any?",
    donate: "array?",
    name: "string?",
    categorize: "function?",
    recompute: "any?",
    precision: "string?",
    check: "function?",
    checkNumerics: "boolean?",
    maxPrograms: "number?",
  });
  if (options.device !== undefined && !(options.device instanceof Device)) {
    throw new LocalgradError(`jit: ${shown(options.device)} is not a device; open one with devices.open()`);
  }
  const name = options.name ?? (f.name === "" ? "program" : f.name);
  const planning = { recompute: options.recompute ?? false };
  expectRecompute("jit", planning.recompute);
  const { maxPrograms = MOST_PROGRAMS } = options;
  expectWhole(`${name}: maxPrograms`, maxPrograms);
  const programs = new CompiledPrograms(maxPrograms);

  function call(...args: unknown[]): unknown {
    const given = argumentsOf(args, name);
    if (given === undefined) return f(...args);
    const device = options.device ?? given.device;
    if (device === undefined) {
      throw new LocalgradError(`${name}: no argument is on a device; pass { device } to jit`);
    }
    given.check();
    const compiled = programs.get(device, given.key);
    if (compiled !== undefined) return compiled.run(given.parts);
    const backend = device.use();
    expectDonated(name, options, args.length);
    const { structure, paths } = treeFlatten<unknown>(args); // shows what is held
    const shown = argumentsOf(args, name) ?? given;
    const avals = shown.parts.flatMap((part) => part instanceof Held ? part.avals : [part]);
    const traced = trace(f, name, options, structure, inputsOf(avals, paths));
    options.check?.(traced.program);
    const plan = compile(traced.program, backend.target, planning);
    const made = new Compiled(traced, device, plan, device.explaining(() => executable(backend, plan)));
    programs.add(device, given.key, made);
    return made.run(shown.parts);
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
    expectDonated(name, options, args.length);
    const { structure, paths, leaves } = treeFlatten<unknown>(args, isAval);
    const avals = leaves.map((aval, i) => {
      requireAval(aval, `${name}: argument ${paths[i]}`);
      return aval;
    });
    return trace(f, name, options, structure, inputsOf(avals, paths)).program;
  }

  return Object.assign(call, {
    program,
    plan: (target: Target, ...args: unknown[]) => {
      expectTarget(name, target);
      return compile(program(...args), target, planning);
    },
    dispose: () => programs.dispose(),
  });
}

/** An input of a program: a leaf of the arguments. */
interface Input {
  readonly aval: Aval;
  readonly path: string;
}

function inputsOf(avals: readonly Aval[], paths: readonly string[]): Input[] {
  return avals.map(({ shape, dtype }, i) => ({ aval: { shape, dtype }, path: at(paths, i) }));
}

function trace(
  f: UntypedFunction,
  name: string,
  options: JitOptions,
  structure: Tree<number>,
  leaves: readonly Input[],
): Traced {
  const trace = new Trace();
  const inputs = leaves.map(({ aval, path }) => {
    const donated = options.donate?.includes(Number.parseInt(path)) ?? false;
    const category = options.categorize?.(path) ?? "inputs";
    const tensor = new Tensor(trace, trace.builder.input(aval, path, category, donated));
    return { aval, path, donated, tensor };
  });
  return withTrace(trace, () => {
    const check = options.checkNumerics === true ? new NumericsCheck(trace) : undefined;
    const args = treeUnflatten<unknown>(structure, inputs.map(({ tensor }) => tensor));
    const result = withArguments(f, args as unknown[], name);
    const { leaves, paths, structure: results } = treeFlatten<unknown>(result);
    const named = leaves.map((leaf, i): NamedTensor => {
      const path = at(paths, i);
      if (leaf instanceof Tensor && leaf.trace === trace) return { path, tensor: leaf };
      const where = path === "" ? "its result" : `its result at "${path}"`;
      const array = arrayText(leaf);
      throw new LocalgradError(
        array === undefined
          ? `${name}: ${where} is not a tensor of this function; return tensors, in trees`
          : `${name}: ${where} is ${array}, from outside; pass it as an argument, and return that`,
      );
    });
    const outputs = matchDonors(named, inputs);
    if (check !== undefined) outputs.push({ value: check.first.id, name: "numerics" });
    return { program: trace.builder.finish(name, outputs), structure: results, check };
  });
}

/** Refuses to donate arguments that are not there. */
function expectDonated(name: string, { donate = [] }: JitOptions, count: number): void {
  const wrong = donate.find((index) => !isWhole(index, 0, count - 1));
  if (wrong === undefined) return;
  const positions = count === 1
    ? "its one argument has position 0"
    : `its ${count} arguments have positions from 0`;
  throw new LocalgradError(`${name}: donate has ${shown(wrong)}, but ${positions}`);
}

/** Calls `f`. If it fails on fewer arguments than it takes, the error says so. */
function withArguments(f: UntypedFunction, args: readonly unknown[], name: string): unknown {
  try {
    return f(...args);
  } catch (error) {
    const told = error instanceof LocalgradError;
    if (!(told || error instanceof TypeError) || args.length >= f.length) throw error;
    const count = `${name}: takes ${f.length} arguments, but got ${args.length}`;
    throw new LocalgradError(told ? `${count}: ${error.message}` : count, { cause: error });
  }
}

/** Refuses anything but the properties of a backend. */
function expectTarget(name: string, target: Target): void {
  const checked: Pick<Target, "name" | "precisions"> = target;
  expectObject(`${name}: the target (of devices.target)`, checked, { name: "string", precisions: "array" });
}

/** Recognises shape and dtype: a plain object that would otherwise pass for a node of the tree. */
function isAval(node: unknown): node is Aval {
  return typeof node === "object" && node !== null && "shape" in node && "dtype" in node &&
    Array.isArray(node.shape) && typeof node.dtype === "string";
}
