import type { DType } from "../../trace/dtype.ts";
import functionsText from "../../../kernels/webgpu/functions.wgsl" with { type: "text" };
import { specialise } from "./template.ts";

/** The elements along the last axis that an invocation computes at once. */
export type Lanes = 1 | 4;

/** The WGSL type of a value in an expression, where a bool is a bool, not a word. */
export function typeName(dtype: DType, lanes: Lanes): string {
  const element = dtype === "u8" ? "u32" : dtype;
  return lanes === 1 ? element : `vec4<${element}>`;
}

/** The functions of functions.wgsl, each with those that it calls. */
const calls = {
  is_finite: [],
  is_nan: [],
  keep_nan: ["is_nan"],
  max: ["keep_nan"],
  min: ["keep_nan"],
  is_greater: ["is_nan"],
  hidden: [],
  sign: [],
  log: [],
  exp: ["keep_nan"],
  tanh: ["keep_nan"],
  erf: ["exp", "keep_nan"],
  pow: ["exp", "log", "is_finite"],
  rem: [],
  angle: [],
  sin: ["angle", "is_finite"],
  cos: ["angle", "is_finite"],
  to_i32: ["is_nan"],
  to_u32: ["is_nan"],
  threefry: [],
} as const;

/** The name of a function of functions.wgsl. */
export type FunctionName = keyof typeof calls;

/** Functions of one element, called four times for four. */
const scalar: ReadonlySet<FunctionName> = new Set<FunctionName>(["angle", "sin", "cos"]);

/** The functions of functions.wgsl that a kernel calls, for one element and for four. */
export class Functions {
  readonly #used: { readonly [W in Lanes]: Set<FunctionName> } = { 1: new Set(), 4: new Set() };

  /** The name by which to call a function, which is then defined. */
  use(name: FunctionName, lanes: Lanes): string {
    if (lanes === 1 || !scalar.has(name)) {
      for (const called of calls[name]) this.use(called, lanes);
    } else this.use(name, 1);
    this.#used[lanes].add(name);
    return `${name}_${lanes}`;
  }

  /** The definitions of all functions in use. `zero` is 0, but no compiler can know that: see `dispatch`. */
  text(): string {
    const parts = [
      "var<private> zero: u32;",
      "fn from_bits(bits: u32) -> f32 { return bitcast<f32>(bits | zero); }",
    ];
    for (const lanes of [1, 4] as const) {
      const used: ReadonlySet<string> = this.#used[lanes];
      if (used.size === 0) continue;
      const wanted = Object.fromEntries(Object.keys(calls).map((name) => [name, used.has(name)]));
      const types = Object.entries({ T: "f32", I: "i32", U: "u32", B: "bool" } as const)
        .map(([name, dtype]) => [name, typeName(dtype, lanes)]);
      const constants = { ...wanted, ...Object.fromEntries(types), LANES: lanes, WIDE: lanes === 4 };
      parts.push(specialise(functionsText, constants).replace(/^ *\/\/.*\n/gm, ""));
    }
    return parts.join("\n");
  }
}
