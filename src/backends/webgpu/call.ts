import type { DType } from "../../trace/dtype.ts";
import accessText from "../../../kernels/webgpu/access.wgsl" with { type: "text" };
import type { Slot } from "../place.ts";
import { specialise } from "./template.ts";

/** A storage buffer of a kernel. */
export interface Bound {
  /** The variable's name. */
  readonly name: string;
  /** Its WGSL element type. */
  readonly type: string;
  /** What is bound to it. */
  readonly slot: Slot;
  /** Whether the kernel writes it. */
  readonly write: boolean;
}

/** One dispatch: WGSL that defines `fn run(id: u32)`, called for every id below `count`. */
export interface Call {
  /** Name for people. */
  readonly label: string;
  /** Function definitions. */
  readonly text: string;
  /** Its buffers. */
  readonly bindings: readonly Bound[];
  /** Invocations. */
  readonly count: number;
  /** Invocations in a workgroup. */
  readonly group: number;
}

/** A buffer that is read and written in runs of four elements by `load_name` and `store_name`. */
export interface Runs extends Bound {
  /** Accessor functions. */
  readonly text: string;
}

/** Declares a buffer accessed in runs of four, whole vectors at a time where every run starts at a multiple of 4. */
export function runs(name: string, slot: Slot, vector: boolean, write: boolean = false): Runs {
  const text = specialise(accessText, { NAME: name, VECTOR: vector, WRITE: write });
  return { name, slot, write, type: vector ? "vec4f" : "f32", text };
}

/** How each dtype is declared in a storage buffer: bool as a 0/1 word, u8 four to a word. No plan here has bf16. */
export const stored: { readonly [D in DType]: "f32" | "i32" | "u32" } = {
  f32: "f32",
  bf16: "u32",
  i32: "i32",
  u32: "u32",
  bool: "u32",
  u8: "u32",
};

/** A type of `width` elements. */
export function typeOf(element: string, width: number): string {
  return width === 1 ? element : `vec4<${element}>`;
}
