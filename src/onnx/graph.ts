import { at } from "../base/at.ts";
import { type DType, isFloat, type Shape, sizeOf } from "../trace/dtype.ts";
import type { Dim } from "./dim.ts";
import { grows } from "./dim.ts";
import { attributeTypes, type DataType, dataTypes, type Messages } from "./schema.ts";

/** The value of an attribute of a node; `{ float }` where a whole number must be a float. */
export type Attribute = number | string | readonly number[] | { readonly float: number };

/** The attributes of a node, by name. */
export type Attributes = { readonly [name: string]: Attribute };

/** A node of a graph. */
export interface GraphNode {
  /** Its operator. */
  op: string;
  /** Its name. */
  readonly name: string;
  /** Its operands; `""` for one that is left out. */
  inputs: string[];
  /** Its result. */
  output: string;
  /** Its attributes. */
  readonly attributes: Attributes;
  /** Elements that go into each result of a reduction, if that is the same for every batch. */
  readonly count?: number | undefined;
}

/** A tensor in the file. */
export interface Initializer {
  /** Its type. */
  readonly type: DataType;
  /** Extent of each axis. */
  readonly shape: Shape;
  /** Elements, row-major. */
  readonly data: ArrayLike<number>;
}

/** An ONNX graph under construction. Equal nodes are made once. */
export class Graph {
  /** The nodes, in an order in which they can be computed. */
  nodes: GraphNode[] = [];
  /** The tensors in the file, by name. */
  readonly initializers: Map<string, Initializer> = new Map();
  /** Begins the names of new nodes: the part of the network that they are of. */
  scope = "";
  readonly #names = new Map<string, number>();
  readonly #known = new Map<string, string>();
  readonly #inputs: Messages["ValueInfo"][] = [];

  /** Adds an input. */
  input(name: string, type: DataType, shape: readonly Dim[], doc?: string): string {
    const own = this.#unique(name);
    this.#inputs.push(valueInfo(own, type, shape, doc));
    return own;
  }

  /** Adds a node and returns the name of its result. */
  node(op: string, inputs: readonly string[], attributes: Attributes = {}, count?: number): string {
    const key = JSON.stringify([op, inputs, attributes]);
    let output = this.#known.get(key);
    if (output === undefined) {
      output = this.#unique(this.scope === "" ? op : `${this.scope}/${op}`);
      this.nodes.push({ op, name: output, inputs: [...inputs], output, attributes, count });
      this.#known.set(key, output);
    }
    return output;
  }

  /** Adds a tensor to the file and returns its name, which is `name` if that is free. */
  initializer(name: string, tensor: Initializer): string {
    const { type, shape, data } = tensor;
    const small = data.length <= 16;
    const key = small ? JSON.stringify([type, shape, Array.from(data, String)]) : "";
    const known = small ? this.#known.get(key) : undefined;
    // Parameters keep their names, even if some have equal values.
    if (known !== undefined && !name.includes(".")) return known;
    const own = this.#unique(name);
    this.initializers.set(own, tensor);
    if (small && !name.includes(".")) this.#known.set(key, own);
    return own;
  }

  /** The elements of a tensor in the file, in another shape. */
  reshaped(name: string, shape: Shape): string {
    const tensor = this.initializers.get(name);
    if (tensor === undefined) throw new Error(`there is no tensor ${name}`);
    const alone = this.nodes.filter(({ inputs }) => inputs.includes(name)).length === 1;
    if (!alone) return this.initializer(name, { ...tensor, shape });
    this.initializers.set(name, { ...tensor, shape });
    return name;
  }

  /** A list of whole numbers in the file. */
  integers(values: readonly number[]): string {
    return this.initializer("integers", { type: "INT64", shape: [values.length], data: values });
  }

  /** One number in the file. */
  scalar(value: number, type: DataType = "FLOAT"): string {
    return this.initializer("scalar", { type, shape: [], data: [value] });
  }

  /** The node that computes a value. */
  producer(value: string): GraphNode | undefined {
    return this.nodes.find(({ output }) => output === value);
  }

  /** The message for the graph, without what no output needs. */
  finish(name: string, outputs: readonly { readonly value: string; readonly info: Messages["ValueInfo"] }[]) {
    for (const { value, info } of outputs) this.#publish(value, info.name);
    const needed = new Set(outputs.map(({ info }) => info.name));
    const nodes = this.nodes.toReversed().filter(({ output, inputs }) => {
      if (!needed.has(output)) return false;
      for (const input of inputs) needed.add(input);
      return true;
    }).toReversed();
    return {
      nodes: nodes.map(({ op, name, inputs, output, attributes }) => ({
        inputs,
        outputs: [output],
        name,
        op,
        attributes: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      })),
      name,
      initializers: [...this.initializers].filter(([name]) => needed.has(name)).map(([name, tensor]) =>
        tensorOf(name, tensor)
      ),
      inputs: this.#inputs,
      outputs: outputs.map(({ info }) => info),
    } satisfies Messages["Graph"];
  }

  /** Gives a value the name of an output. */
  #publish(value: string, name: string): void {
    const node = this.producer(value);
    if (node === undefined || this.#names.has(name)) {
      this.nodes.push({ op: "Identity", name, inputs: [value], output: name, attributes: {} });
      return;
    }
    this.#unique(name);
    for (const each of this.nodes) each.inputs = each.inputs.map((input) => input === value ? name : input);
    node.output = name;
  }

  #unique(name: string): string {
    const count = (this.#names.get(name) ?? 0) + 1;
    this.#names.set(name, count);
    return count === 1 ? name : this.#unique(`${name}_${count}`);
  }
}

/** The ONNX type of a dtype: integers are INT64, as ONNX's own operators use them, and bf16 is FLOAT after rounding. */
export function dataTypeOf(dtype: DType): DataType {
  return isFloat(dtype) ? "FLOAT" : dtype === "bool" ? "BOOL" : "INT64";
}

/** The message for an input or an output. The batch is called `batch`. */
export function valueInfo(
  name: string,
  type: DataType,
  shape: readonly Dim[],
  doc?: string,
): Messages["ValueInfo"] {
  const dims = shape.map((dim) => {
    if (!grows(dim)) return { value: dim };
    return dim.perImage === 1 && dim.fixed === 0 ? { parameter: "batch" } : {};
  });
  const tensor = { elementType: dataTypes[type], shape: { dims } };
  return doc === undefined ? { name, type: { tensor } } : { name, type: { tensor }, doc };
}

function attribute(name: string, value: Attribute): Messages["Attribute"] {
  if (typeof value === "number") return { name, int: value, type: attributeTypes.int };
  if (typeof value === "string") return { name, string: value, type: attributeTypes.string };
  if ("float" in value) return { name, float: value.float, type: attributeTypes.float };
  return { name, ints: value, type: attributeTypes.ints };
}

function tensorOf(name: string, { type, shape, data }: Initializer): Messages["Tensor"] {
  return { dims: shape, dataType: dataTypes[type], name, raw: rawOf(type, data, sizeOf(shape)) };
}

function rawOf(type: DataType, data: ArrayLike<number>, count: number): Uint8Array {
  if (type === "FLOAT") {
    const floats = data instanceof Float32Array ? data : Float32Array.from(data);
    return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
  }
  if (type === "BOOL") return Uint8Array.from(data);
  return new Uint8Array(BigInt64Array.from({ length: count }, (_, i) => BigInt(at(data, i))).buffer);
}
