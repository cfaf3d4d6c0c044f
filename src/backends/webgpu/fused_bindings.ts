import { at } from "../../base/at.ts";
import type { Kernel, Node, Store, View } from "../../compile/kernel.ts";
import { type Aval, type DType, type Shape, stridesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import {
  affine,
  decode as decodeLines,
  element,
  isRun,
  lastStride,
  type Walk as WalkOf,
  word,
} from "../index_text.ts";
import type { Slot } from "../place.ts";
import { type Binding, type Call, stored, typeOf } from "./call.ts";
import { type Context, convert, literal } from "./expressions.ts";
import { Functions, type Lanes } from "./functions.ts";
import type { Variant } from "./variant.ts";

/** A kernel to print. */
export interface Job {
  readonly kernel: Kernel;
  /** The values of its plan. */
  readonly values: readonly Aval[];
  readonly variant: Variant;
  /** The memory of a value, by name: the same for values that share it (an operation in place). */
  readonly place: (value: ValueId) => string;
}

/** A space as an invocation walks it. */
export type Walk = WalkOf<Lanes>;

/** The elements of one access: four if the last extent is a multiple of 4. */
export function lanesOf(shape: Shape): Lanes {
  const last = shape.at(-1);
  return last !== undefined && last % 4 === 0 ? 4 : 1;
}

/** Lines that split a row-major index into one index per axis. */
export function decode(index: string, extents: readonly number[], axes: readonly string[]): string[] {
  return decodeLines(index, extents, axes, (definitions) => definitions.map((line) => `let ${line};`));
}

interface Declared {
  readonly name: string;
  readonly slot: Slot;
  readonly dtype: DType;
  /** True while every access covers four contiguous elements, from a multiple of 4. */
  wide: boolean;
  written: boolean;
}

/** The buffers of one dispatch of a fused kernel, and the expressions that read and write them. */
export class Bindings {
  readonly #buffers = new Map<string, Declared>();
  /** The functions that the kernel calls. */
  readonly functions: Functions = new Functions();
  #workspace: Binding | undefined;

  constructor(readonly job: Job) {}

  /** Declares the buffers that nodes and stores access; all visits precede any printing. */
  visit(nodes: readonly Node[], stores: readonly Store[], walk: Walk): void {
    for (const node of nodes) {
      if (node.kind === "load") this.#touch(this.#input(node.input), isRun(node.view, walk));
      if (node.kind === "randomBits") this.#touch(this.#input(node.key), false);
    }
    for (const store of stores) this.#touch(store.output, walk.lanes === 4).written = true;
  }

  /** Declares the workspace. */
  workspace(type: string, write: boolean): void {
    this.#workspace = { name: "workspace", type, slot: "workspace", write };
  }

  #input(index: number): ValueId {
    return at(this.job.kernel.inputs, index);
  }

  #touch(value: ValueId, wide: boolean): Declared {
    const place = this.job.place(value);
    let buffer = this.#buffers.get(place);
    if (buffer === undefined) {
      const name = `b${this.#buffers.size}`;
      buffer = { name, slot: value, dtype: at(this.job.values, value).dtype, wide: true, written: false };
      this.#buffers.set(place, buffer);
    }
    buffer.wide &&= wide;
    return buffer;
  }

  #buffer(value: ValueId): Declared {
    const buffer = this.#buffers.get(this.job.place(value));
    if (buffer === undefined) throw new Error(`webgpu: value ${value} was not declared`);
    return buffer;
  }

  /** The context in which nodes are printed for a walk. */
  context(walk: Walk, reduced: (index: number) => string = () => ""): Context {
    const { lanes } = walk;
    return {
      ...{ lanes, functions: this.functions, reduced },
      load: (input, view, dtype) => this.#load(this.#input(input), view, dtype, walk),
      index: (view) => {
        const first = element(view, walk);
        const stride = lastStride(view);
        return lanes === 1
          ? first
          : `(vec4<u32>(${first}) + vec4<u32>(${[0, 1, 2, 3].map((j) => word(j * stride)).join(", ")}))`;
      },
      key: (input) => {
        const { name } = this.#buffer(this.#input(input));
        return [`${name}[0]`, `${name}[1]`];
      },
    };
  }

  #load(value: ValueId, view: View, dtype: DType, walk: Walk): string {
    const { lanes } = walk;
    const buffer = this.#buffer(value);
    const own = at(this.job.values, value).dtype;
    if (own === "u8") {
      return convert(this.#loadBytes(buffer.name, view, walk), "u32", dtype, {
        lanes,
        functions: this.functions,
      });
    }
    const raw = this.#loadWords(buffer, own, view, walk);
    return own === "bool" ? `${raw} != ${literal(0, "u32", lanes)}` : raw;
  }

  #loadWords({ name, wide, dtype: declared }: Declared, dtype: DType, view: View, walk: Walk): string {
    const type = typeOf(stored[dtype], walk.lanes);
    // Values of different dtypes may share memory; the buffer has the type of the first one.
    const as = (expression: string, to: string) =>
      stored[declared] === stored[dtype] ? expression : `bitcast<${to}>(${expression})`;
    if (wide) return as(`${name}[${vector(view, walk)}]`, type);
    const first = element(view, walk);
    if (walk.lanes === 1) return as(`${name}[${first}]`, type);
    const stride = lastStride(view);
    if (stride === 0) return `${type}(${as(`${name}[${first}]`, stored[dtype])})`;
    const four = [0, 1, 2, 3].map((j) => as(`${name}[${first} + ${word(j * stride)}]`, stored[dtype]));
    return `${type}(${four.join(", ")})`;
  }

  #loadBytes(name: string, view: View, walk: Walk): string {
    if (isRun(view, walk)) return `unpack4xU8(${name}[${vector(view, walk)}])`;
    const byte = (at: string) => `((${name}[(${at}) >> 2u] >> (((${at}) & 3u) * 8u)) & 0xffu)`;
    const first = element(view, walk);
    if (walk.lanes === 1) return byte(first);
    return `vec4<u32>(${
      [0, 1, 2, 3].map((j) => byte(`${first} + ${word(j * lastStride(view))}`)).join(", ")
    })`;
  }

  /** Lines that write the results. */
  stores(stores: readonly Store[], nodes: readonly Node[], prefix: string, walk: Walk): string[] {
    const identity = { offset: 0, strides: stridesOf(walk.shape) };
    return stores.flatMap(({ node, output }) => {
      const { name, wide, dtype: declared } = this.#buffer(output);
      const { dtype } = at(nodes, node);
      const type = typeOf(stored[dtype], walk.lanes);
      let value = dtype === "bool"
        ? convert(`${prefix}${node}`, "bool", "u32", { lanes: walk.lanes, functions: this.functions })
        : `${prefix}${node}`;
      if (stored[declared] !== stored[dtype]) {
        value = `bitcast<${typeOf(stored[declared], walk.lanes)}>(${value})`;
      } else if (dtype === "bool") value = `${type}(${value})`;
      if (wide) return [`${name}[${vector(identity, walk)}] = ${value};`];
      const first = element(identity, walk);
      if (walk.lanes === 1) return [`${name}[${first}] = ${value};`];
      const held = `stored${output}`;
      return [
        `let ${held} = ${value};`,
        ...["x", "y", "z", "w"].map((lane, j) => `${name}[${first} + ${j}u] = ${held}.${lane};`),
      ];
    });
  }

  /** The finished dispatch. */
  call(label: string, count: number, group: number, lines: readonly string[]): Call {
    const bindings: Binding[] = [...this.#buffers.values()].map(({ name, slot, dtype, wide, written }) => ({
      ...{ name, slot, write: written },
      type: dtype === "u8" ? "u32" : typeOf(stored[dtype], wide ? 4 : 1),
    }));
    if (this.#workspace) bindings.push(this.#workspace);
    const text = [this.functions.text(), "fn run(id: u32) {", ...lines.map((line) => `  ${line}`), "}"].join(
      "\n",
    );
    return { label, text, bindings, count, group };
  }
}

/** The same in whole vectors, for a wide view. */
function vector(view: View, walk: Walk): string {
  const last = view.strides.length - 1;
  return affine(
    view.offset / 4,
    view.strides.map((stride, axis) => axis === last ? stride : stride / 4),
    walk.axes,
  );
}
