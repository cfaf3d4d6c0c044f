import { encode, type Messages } from "./schema.ts";

/** Version of the format. Every release of ONNX Runtime since 1.13 (2022) reads 8. */
const IR_VERSION = 8;
/** Version of the operators: the first that has all in use. */
const OPSET = 18;

/** The bytes of a model. */
export function modelOf(
  graph: Messages["Graph"],
  metadata: Messages["Model"]["metadata"],
): Uint8Array<ArrayBuffer> {
  return encode("Model", {
    irVersion: IR_VERSION,
    producerName: "localgrad",
    opsetImport: [{ version: OPSET }],
    graph,
    metadata,
  });
}
