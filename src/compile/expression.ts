import type { DType, Shape } from "../trace/dtype.ts";
import type { Instruction, InstructionOf, Program, ValueId } from "../trace/program.ts";
import { type IndexMap, operandMap, reshapeMap, type SplitAxis, viewOf } from "./index_map.ts";
import type { View } from "./kernel.ts";
import { NodeList } from "./nodes.ts";
import type { Storage } from "./storage.ts";

/** What must happen before an expression can be built over its space. */
export type Obstacle = { readonly split: SplitAxis } | { readonly store: ValueId };

/** Thrown by {@link ExpressionBuilder} where the space or the choice of stored values must change first. */
export class Blocked extends Error {
  /** Says what must happen. */
  constructor(readonly obstacle: Obstacle) {
    super("expression needs another space");
  }
}

/** Turns values of a program into nodes over one space, down to the stored values that are loaded. */
export class ExpressionBuilder {
  /** The stored values loaded so far. */
  readonly inputs: ValueId[] = [];
  /** The nodes so far. */
  readonly list: NodeList = new NodeList();
  readonly #program: Program;
  readonly #makers: readonly (Instruction | undefined)[];
  readonly #storage: Storage;
  readonly #space: Shape;
  readonly #done = new Map<IndexMap, Map<ValueId, number>>();

  constructor(
    program: Program,
    makers: readonly (Instruction | undefined)[],
    storage: Storage,
    space: Shape,
  ) {
    this.#program = program;
    this.#makers = makers;
    this.#storage = storage;
    this.#space = space;
  }

  /** The node of a value's element at `map`; `compute` makes a stored value anew instead of loading it. */
  value(value: ValueId, map: IndexMap, compute: boolean = false): number {
    let done = this.#done.get(map);
    if (done === undefined) this.#done.set(map, done = new Map());
    let node = done.get(value);
    if (node === undefined) {
      node = this.#storage.has(value) && !compute
        ? this.#load(value, map, this.#program.values[value].dtype)
        : this.#compute(this.#makers[value]!, map);
      done.set(value, node);
    }
    return node;
  }

  #compute(instruction: Instruction, map: IndexMap): number {
    const { values } = this.#program;
    const { dtype, shape } = values[instruction.output];
    const arg = (index: number) => this.value(instruction.inputs[index], map);
    switch (instruction.op) {
      case "unary":
        return this.list.add({ kind: "unary", fn: instruction.attrs.fn, args: [arg(0)], dtype });
      case "binary":
        return this.list.add({ kind: "binary", fn: instruction.attrs.fn, args: [arg(0), arg(1)], dtype });
      case "compare":
        return this.list.add({
          kind: "compare",
          fn: instruction.attrs.fn,
          args: [arg(0), arg(1)],
          dtype: "bool",
        });
      case "select":
        return this.list.add({ kind: "select", args: [arg(0), arg(1), arg(2)], dtype });
      case "cast":
        return this.#cast(instruction, map, dtype);
      case "constant":
        return this.list.add({ kind: "constant", value: instruction.attrs.values[0], dtype });
      case "iota":
        return this.list.add({ kind: "iota", view: map[instruction.attrs.axis], dtype });
      case "randomBits": {
        const view = viewOf(map, shape, this.#space.length);
        return this.list.add({
          kind: "randomBits",
          key: this.#input(instruction.inputs[0]),
          view,
          dtype: "u32",
        });
      }
      case "broadcast":
      case "transpose":
      case "slice": {
        const operand = instruction.inputs[0];
        return this.value(operand, operandMap(instruction, map, values[operand].shape));
      }
      case "reshape":
        return this.#reshape(instruction, map, shape);
      default:
        throw new Error(`${instruction.op} is not computed within kernels`);
    }
  }

  #cast({ inputs: [operand] }: InstructionOf<"cast">, map: IndexMap, dtype: DType): number {
    if (this.#program.values[operand].dtype !== "u8") {
      return this.list.add({ kind: "cast", args: [this.value(operand, map)], dtype });
    }
    if (dtype !== "bool") return this.#load(operand, map, dtype);
    return this.list.add({ kind: "cast", args: [this.#load(operand, map, "u32")], dtype });
  }

  #reshape({ inputs: [operand] }: InstructionOf<"reshape">, map: IndexMap, shape: Shape): number {
    if (this.#storage.has(operand)) { // the same elements in row-major order
      const { dtype } = this.#program.values[operand];
      return this.#loadAt(operand, viewOf(map, shape, this.#space.length), dtype);
    }
    const moved = reshapeMap(map, shape, this.#program.values[operand].shape, this.#space);
    if (moved === undefined) throw new Blocked({ store: operand });
    if ("axis" in moved) throw new Blocked({ split: moved });
    return this.value(operand, moved);
  }

  #load(value: ValueId, map: IndexMap, dtype: DType): number {
    return this.#loadAt(value, viewOf(map, this.#program.values[value].shape, this.#space.length), dtype);
  }

  #loadAt(value: ValueId, view: View, dtype: DType): number {
    return this.list.add({ kind: "load", input: this.#input(value), view, dtype });
  }

  #input(value: ValueId): number {
    const base = this.#storage.base(value);
    const index = this.inputs.indexOf(base);
    return index >= 0 ? index : this.inputs.push(base) - 1;
  }
}
