import { at } from "../base/at.ts";
import type { Aval, DType, Shape } from "../trace/dtype.ts";
import type { Instruction, InstructionOf, Program, ValueId } from "../trace/program.ts";
import { type IndexMap, operandMap, reshapeMap, type SplitAxis, viewOf } from "./index_map.ts";
import type { View } from "./kernel.ts";
import type { Makers } from "./makers.ts";
import { NodeList } from "./nodes.ts";
import type { Storage } from "./storage.ts";

/** The change that is needed before an expression can be built: an axis of the space to split, or a value to store. */
export type Obstacle = { readonly split: SplitAxis } | { readonly store: ValueId };

/** Thrown by {@link ExpressionBuilder} if the space or the choice of stored values must change first. */
export class Blocked extends Error {
  /** Carries the change that is needed. */
  constructor(readonly obstacle: Obstacle) {
    super("expression needs another space");
  }
}

/** Builds the nodes of values over one space, down to the stored values that are loaded. */
export class ExpressionBuilder {
  /** The stored values loaded so far. */
  readonly inputs: ValueId[] = [];
  /** The nodes so far. */
  readonly list: NodeList = new NodeList();
  readonly #program: Program;
  readonly #makers: Makers;
  readonly #storage: Storage;
  readonly #space: Shape;
  readonly #done = new Map<IndexMap, Map<ValueId, number>>();

  constructor(
    program: Program,
    makers: Makers,
    storage: Storage,
    space: Shape,
  ) {
    this.#program = program;
    this.#makers = makers;
    this.#storage = storage;
    this.#space = space;
  }

  /** Returns the node of a value's element at `map`; `compute` computes a stored value instead of loading it. */
  value(value: ValueId, map: IndexMap, compute: boolean = false): number {
    let done = this.#done.get(map);
    if (done === undefined) this.#done.set(map, done = new Map());
    let node = done.get(value);
    if (node === undefined) {
      node = this.#storage.has(value) && !compute
        ? this.#load(value, map, this.#aval(value).dtype)
        : this.#compute(this.#makers.get(value), map);
      done.set(value, node);
    }
    return node;
  }

  #compute(instruction: Instruction, map: IndexMap): number {
    const { dtype, shape } = this.#aval(instruction.output);
    const node = (operand: ValueId) => this.value(operand, map);
    switch (instruction.op) {
      case "unary": {
        const { attrs, inputs } = instruction;
        return this.list.add({ kind: "unary", fn: attrs.fn, args: [node(inputs[0])], dtype });
      }
      case "binary": {
        const { attrs, inputs } = instruction;
        const args = [node(inputs[0]), node(inputs[1])] as const;
        return this.list.add({ kind: "binary", fn: attrs.fn, args, dtype });
      }
      case "compare": {
        const { attrs, inputs } = instruction;
        const args = [node(inputs[0]), node(inputs[1])] as const;
        return this.list.add({ kind: "compare", fn: attrs.fn, args, dtype: "bool" });
      }
      case "select": {
        const { inputs } = instruction;
        const args = [node(inputs[0]), node(inputs[1]), node(inputs[2])] as const;
        return this.list.add({ kind: "select", args, dtype });
      }
      case "cast":
        return this.#cast(instruction, map, dtype);
      case "constant":
        return this.list.add({ kind: "constant", value: at(instruction.attrs.values, 0), dtype });
      case "iota":
        return this.list.add({ kind: "iota", view: at(map, instruction.attrs.axis), dtype });
      case "randomBits": {
        const view = viewOf(map, shape, this.#space.length);
        return this.list.add({
          kind: "randomBits",
          key: this.#input(instruction.inputs[0]),
          word: instruction.attrs.word,
          view,
          dtype: "u32",
        });
      }
      case "broadcast":
      case "transpose":
      case "slice": {
        const operand = instruction.inputs[0];
        return this.value(operand, operandMap(instruction, map, this.#aval(operand).shape));
      }
      case "reshape":
        return this.#reshape(instruction, map, shape);
      default:
        throw new Error(`${instruction.op} is not computed within kernels`);
    }
  }

  #cast({ inputs: [operand] }: InstructionOf<"cast">, map: IndexMap, dtype: DType): number {
    if (this.#aval(operand).dtype !== "u8") {
      return this.list.add({ kind: "cast", args: [this.value(operand, map)], dtype });
    }
    if (dtype !== "bool") return this.#load(operand, map, dtype);
    return this.list.add({ kind: "cast", args: [this.#load(operand, map, "u32")], dtype });
  }

  #reshape({ inputs: [operand] }: InstructionOf<"reshape">, map: IndexMap, shape: Shape): number {
    if (this.#storage.has(operand)) { // its elements are the same in row-major order
      const { dtype } = this.#aval(operand);
      return this.#loadAt(operand, viewOf(map, shape, this.#space.length), dtype);
    }
    const moved = reshapeMap(map, shape, this.#aval(operand).shape, this.#space);
    if (moved === undefined) throw new Blocked({ store: operand });
    if ("axis" in moved) throw new Blocked({ split: moved });
    return this.value(operand, moved);
  }

  #load(value: ValueId, map: IndexMap, dtype: DType): number {
    return this.#loadAt(value, viewOf(map, this.#aval(value).shape, this.#space.length), dtype);
  }

  #loadAt(value: ValueId, view: View, dtype: DType): number {
    return this.list.add({ kind: "load", input: this.#input(value), view, dtype });
  }

  #aval(value: ValueId): Aval {
    return at(this.#program.values, value);
  }

  #input(value: ValueId): number {
    const base = this.#storage.base(value);
    const index = this.inputs.indexOf(base);
    return index >= 0 ? index : this.inputs.push(base) - 1;
  }
}
