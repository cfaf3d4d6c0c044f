import { at } from "../../base/at.ts";
import type { Kernel, Node, View } from "../../compile/kernel.ts";
import { type Shape, stridesOf } from "../../trace/dtype.ts";
import {
  decode as decodeWith,
  element,
  isRun,
  lastStride,
  type Walk as TextWalk,
  word,
} from "../index_text.ts";
import { type Argument, type Call, callOf } from "./call.ts";
import { type Context, printNodes, read, typeOf, written } from "./expressions.ts";
import type { Lanes } from "./tiling.ts";

/** The element-wise part of a kernel, with arguments for inputs and stores: values, or parts of the workspace. */
export interface Form {
  readonly space: Shape;
  readonly inputs: readonly Argument[];
  readonly nodes: readonly Node[];
  readonly stores: readonly Write[];
}

/** The reduction of a kernel, with arguments for stores. */
export interface ReduceForm {
  readonly axes: readonly number[];
  readonly reductions: NonNullable<Kernel["reduce"]>["reductions"];
  readonly epilogue: readonly Node[];
  readonly stores: readonly Write[];
}

/** Writes the result of a node to an argument. */
export interface Write {
  readonly node: number;
  readonly to: Argument;
}

/** A space as a kernel's threads walk it. */
export type Walk = TextWalk<Lanes>;

/** Tests whether two arguments share memory: a result may be computed in place. */
export type Shared = (a: Argument, b: Argument) => boolean;

/** Nodes to evaluate at each point of a walk, and results to write there. */
export interface Body {
  readonly inputs: readonly Argument[];
  readonly nodes: readonly Node[];
  readonly stores: readonly Write[];
  readonly walk: Walk;
  /** Begins the names of variables. */
  readonly prefix: string;
  /** The result of a reduction, for lane `e` of an epilogue. */
  readonly reduced?: (index: number) => string;
  /** Further lines for lane `e`. */
  readonly inside?: readonly string[];
}

/** Prints a body: the loads of whole runs, then a loop over the lanes, then the writes. */
export function printBody(
  { inputs, nodes, stores, walk, prefix, reduced = () => "", inside = [] }: Body,
  parameters: Parameters,
): string[] {
  const { lanes } = walk;
  const loads: string[] = [];
  const context: Context = {
    dtype: (input) => at(inputs, input).dtype,
    load(node, input, view) {
      const argument = at(inputs, input), { dtype } = argument;
      const name = parameters.nameOf(argument);
      const variable = `${prefix}r${node}`;
      const stride = lastStride(view);
      if (isRun(view, walk)) {
        loads.push(
          `const Vec<${typeOf[dtype]}, ${lanes}> ${variable} = load<${lanes}>(${name} + ${
            element(view, walk)
          });`,
        );
        return read(`${variable}.at[e]`, dtype);
      }
      if (stride === 0 || lanes === 1) {
        loads.push(`const ${typeOf[dtype]} ${variable} = ${name}[${element(view, walk)}];`);
        return read(variable, dtype);
      }
      loads.push(`const u32 ${variable} = ${element(view, walk)};`);
      return read(`${name}[${variable} + e * ${word(stride)}]`, dtype);
    },
    index: (view) =>
      lastStride(view) === 0 || lanes === 1
        ? element(view, walk)
        : `${element(view, walk)} + e * ${word(lastStride(view))}`,
    key: (input, word) => `${parameters.nameOf(at(inputs, input))}[${word}]`,
    reduced,
  };
  const variables = printNodes(nodes, prefix, context);
  const identity: View = { offset: 0, strides: stridesOf(walk.shape) };
  const results = stores.map(({ node }, i) =>
    `Vec<${typeOf[at(nodes, node).dtype]}, ${lanes}> ${prefix}s${i};`
  );
  const writes = stores.map(({ to }, i) =>
    `store(${parameters.nameOf(to)} + ${element(identity, walk)}, ${prefix}s${i});`
  );
  return [
    ...loads,
    ...results,
    `UNROLL for (u32 e = 0; e < ${lanes}u; ++e) {`,
    ...variables.map((line) => `  ${line}`),
    ...stores.map(({ node }, i) =>
      `  ${prefix}s${i}.at[e] = ${written(`${prefix}${node}`, at(nodes, node).dtype)};`
    ),
    ...inside.map((line) => `  ${line}`),
    "}",
    ...writes,
  ];
}

/** Lines that split a row-major index into one index per axis. */
export function decode(index: string, extents: readonly number[], axes: readonly string[]): string[] {
  return decodeWith(index, extents, axes, (definitions) => [`const u32 ${definitions.join(", ")};`]);
}

/** The parameters of a kernel, named in the order of their first use. */
export class Parameters {
  readonly #list: Argument[] = [];

  /** The name of the parameter for an argument. */
  nameOf(argument: Argument): string {
    let index = this.#list.findIndex((a) =>
      a.slot === argument.slot && a.offset === argument.offset && a.written === argument.written
    );
    if (index < 0) index = this.#list.push(argument) - 1;
    return `p${index}`;
  }

  /** A call of the kernel that has these parameters, and {@link Body.tickets}. */
  call(
    label: string,
    blocks: number,
    lines: readonly string[],
    shared: Shared,
    tickets: number = 0,
  ): Call {
    // A result computed in place is read and written through two pointers, neither of them restrict.
    const isAlone = (argument: Argument) =>
      this.#list.every((other) =>
        other === argument || (!argument.written && !other.written) || !shared(argument, other)
      );
    const parameters = this.#list.map((argument, i) =>
      `${argument.written ? "" : "const "}${typeOf[argument.dtype]}* ${
        isAlone(argument) ? "__restrict__ " : ""
      }p${i}`
    );
    const body = { parameters, lines, tickets, reduces: label !== "map" };
    return callOf({ label, arguments: this.#list, blocks, body });
  }
}
