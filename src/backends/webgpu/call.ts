import type { DType } from "../../trace/dtype.ts";
import accessText from "../../../kernels/webgpu/access.wgsl" with { type: "text" };
import type { Slot } from "../place.ts";
import { specialise } from "./template.ts";

/** A storage buffer of a kernel. */
export interface Binding {
  /** The name of its variable. */
  readonly name: string;
  /** The WGSL type of its elements. */
  readonly type: string;
  /** The value, or the workspace, that is bound. */
  readonly slot: Slot;
  /** True if the kernel writes it. */
  readonly write: boolean;
}

/** One dispatch: WGSL that defines `fn run(id: u32)`, called for every id below `count`. */
export interface Call {
  /** A name for people. */
  readonly label: string;
  /** The definition of `run` and of the functions that it calls. */
  readonly text: string;
  /** The buffers. */
  readonly bindings: readonly Binding[];
  /** The number of invocations. */
  readonly count: number;
  /** The workgroup size. */
  readonly group: number;
}

/** A buffer accessed in runs of four elements through `load_name` and `store_name`. */
export interface Runs extends Binding {
  /** The definitions of those functions. */
  readonly text: string;
}

/** Declares a buffer accessed in runs of four; as vectors if every run starts at a multiple of 4 (`vector`). */
export function runs(name: string, slot: Slot, vector: boolean, write: boolean = false): Runs {
  const text = specialise(accessText, { NAME: name, VECTOR: vector, WRITE: write });
  return { name, slot, write, type: vector ? "vec4f" : "f32", text };
}

/** The type of each dtype in a storage buffer: bool is a word of 0 or 1, u8 four to a word. No WebGPU plan has bf16. */
export const stored: { readonly [D in DType]: "f32" | "i32" | "u32" } = {
  f32: "f32",
  bf16: "u32",
  i32: "i32",
  u32: "u32",
  bool: "u32",
  u8: "u32",
};

/** The WGSL type of `lanes` elements. */
export function typeOf(element: string, lanes: number): string {
  return lanes === 1 ? element : `vec4<${element}>`;
}
