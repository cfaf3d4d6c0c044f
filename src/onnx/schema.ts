/**
 * The messages of an ONNX file that localgrad writes, and their encoding. Numbers of fields are those of `onnx.proto`
 * (onnx/onnx, IR version 8); protocol buffers are written by `@bufbuild/protobuf`.
 *
 * @module
 */

import { BinaryWriter, WireType } from "npm:@bufbuild/protobuf@2.17.0/wire";

/** `TensorProto.DataType`. */
export const dataTypes = {
  FLOAT: 1,
  INT32: 6,
  INT64: 7,
  BOOL: 9,
  UINT32: 12,
  UINT64: 13,
  BFLOAT16: 16,
} as const;

/** A type of elements of an ONNX tensor. */
export type DataType = keyof typeof dataTypes;

/** `AttributeProto.AttributeType`. ONNX Runtime refuses an attribute without it. */
export const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;

/** The messages by name, without `Proto` at the end, each with the fields in use. */
export interface Messages {
  Model: {
    readonly irVersion: number;
    readonly producerName: string;
    readonly graph: Messages["Graph"];
    readonly opsetImport: readonly Messages["OperatorSetId"][];
    readonly metadata: readonly Messages["StringStringEntry"][];
  };
  Graph: {
    readonly nodes: readonly Messages["Node"][];
    readonly name: string;
    readonly initializers: readonly Messages["Tensor"][];
    readonly inputs: readonly Messages["ValueInfo"][];
    readonly outputs: readonly Messages["ValueInfo"][];
  };
  Node: {
    readonly inputs: readonly string[];
    readonly outputs: readonly string[];
    readonly name: string;
    readonly op: string;
    readonly attributes: readonly Messages["Attribute"][];
  };
  Attribute: {
    readonly name: string;
    readonly float?: number;
    readonly int?: number;
    readonly string?: string;
    readonly ints?: readonly number[];
    readonly type: number;
  };
  Tensor: {
    readonly dims: readonly number[];
    readonly dataType: number;
    readonly name: string;
    readonly raw: Uint8Array;
  };
  ValueInfo: { readonly name: string; readonly type: Messages["Type"]; readonly doc?: string };
  Type: { readonly tensor: Messages["TensorType"] };
  TensorType: { readonly elementType: number; readonly shape: Messages["TensorShape"] };
  TensorShape: { readonly dims: readonly Messages["Dimension"][] };
  Dimension: { readonly value?: number; readonly parameter?: string };
  OperatorSetId: { readonly version: number };
  StringStringEntry: { readonly key: string; readonly value: string };
}

type Kind = "int" | "float" | "string" | "bytes" | keyof Messages;

/** The number and the kind of each field; a list in a message is a repeated field. */
const fields: {
  readonly [M in keyof Messages]: { readonly [F in keyof Messages[M]]-?: readonly [number, Kind] };
} = {
  Model: {
    irVersion: [1, "int"],
    producerName: [2, "string"],
    graph: [7, "Graph"],
    opsetImport: [8, "OperatorSetId"],
    metadata: [14, "StringStringEntry"],
  },
  Graph: {
    nodes: [1, "Node"],
    name: [2, "string"],
    initializers: [5, "Tensor"],
    inputs: [11, "ValueInfo"],
    outputs: [12, "ValueInfo"],
  },
  Node: {
    inputs: [1, "string"],
    outputs: [2, "string"],
    name: [3, "string"],
    op: [4, "string"],
    attributes: [5, "Attribute"],
  },
  Attribute: {
    name: [1, "string"],
    float: [2, "float"],
    int: [3, "int"],
    string: [4, "string"],
    ints: [8, "int"],
    type: [20, "int"],
  },
  Tensor: { dims: [1, "int"], dataType: [2, "int"], name: [8, "string"], raw: [9, "bytes"] },
  ValueInfo: { name: [1, "string"], type: [2, "Type"], doc: [3, "string"] },
  Type: { tensor: [1, "TensorType"] },
  TensorType: { elementType: [1, "int"], shape: [2, "TensorShape"] },
  TensorShape: { dims: [1, "Dimension"] },
  Dimension: { value: [1, "int"], parameter: [2, "string"] },
  OperatorSetId: { version: [2, "int"] },
  StringStringEntry: { key: [1, "string"], value: [2, "string"] },
};

/** Encodes a message. */
export function encode<M extends keyof Messages>(name: M, message: Messages[M]): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  write(writer, name, message);
  return writer.finish();
}

function write(writer: BinaryWriter, name: keyof Messages, message: object): void {
  for (const [field, [number, kind]] of Object.entries<readonly [number, Kind]>(fields[name])) {
    const value = (message as { readonly [field: string]: unknown })[field];
    for (const each of Array.isArray(value) ? value : value === undefined ? [] : [value]) {
      if (kind === "int") writer.tag(number, WireType.Varint).int64(each);
      else if (kind === "float") writer.tag(number, WireType.Bit32).float(each);
      else if (kind === "string") writer.tag(number, WireType.LengthDelimited).string(each);
      else if (kind === "bytes") writer.tag(number, WireType.LengthDelimited).bytes(each);
      else {
        writer.tag(number, WireType.LengthDelimited).fork();
        write(writer, kind, each);
        writer.join();
      }
    }
  }
}
