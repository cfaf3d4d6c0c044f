import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";
import { toBf16 } from "./bf16.ts";
import {
  type Aval,
  type DType,
  hostArrays,
  type HostData,
  requireDtype,
  requireShape,
  type Shape,
  sizeOf,
} from "./dtype.ts";
import { notAnElement } from "./elements.ts";

/** An array on the host: what initialisers make and checkpoints hold. */
export class HostArray implements Aval {
  /** Elements, row-major. */
  readonly data: HostData;
  /** Elements along each axis. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;

  /** Wraps elements; `dtype` defaults to the one of the typed array (Uint32Array: u32). */
  constructor(data: HostData, shape?: Shape, dtype: DType = dtypeOf(data)) {
    requireDtype(dtype, "an array");
    if (!(data instanceof hostArrays[dtype])) {
      throw new LocalgradError(
        `${shown(data)} does not hold ${dtype}; pass a ${hostArrays[dtype].name}, or a list of numbers`,
      );
    }
    shape ??= [data.length];
    requireShape(shape, "an array");
    if (data.length !== sizeOf(shape)) {
      throw new LocalgradError(`an array of ${data.length} elements does not fill [${shape.join(",")}]`);
    }
    if (dtype === "bool") expectElements(data, dtype);
    this.data = data;
    this.shape = shape;
    this.dtype = dtype;
  }
}

/** The dtype a typed array stands for; a `Uint16Array` holds the bits of bf16. */
export function dtypeOf(data: HostData): DType {
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Uint16Array) return "bf16";
  if (data instanceof Int32Array) return "i32";
  if (data instanceof Uint32Array) return "u32";
  if (data instanceof Uint8Array) return "u8";
  throw new LocalgradError(
    `${
      shown(data)
    } is of no dtype here; pass a Float32Array, Int32Array, Uint32Array, Uint8Array, or a Uint16Array of bf16`,
  );
}

/** A host array of numbers. Raises a LocalgradError where the dtype does not hold one of them. */
export function fromList(values: readonly number[], shape: Shape, dtype: DType): HostArray {
  requireDtype(dtype, "array");
  requireShape(shape, "array");
  if (dtype === "bf16") return new HostArray(toBf16(values), shape);
  expectElements(values, dtype);
  const data = new hostArrays[dtype](values.length);
  data.set(values);
  return new HostArray(data, shape, dtype);
}

/** Refuses numbers that a dtype does not hold. */
function expectElements(values: ArrayLike<number>, dtype: DType): void {
  for (let i = 0; i < values.length; i++) {
    const wrong = notAnElement(values[i], dtype);
    if (wrong !== undefined) {
      throw new LocalgradError(`an array's element ${i}: ${wrong}; make it f32, or round`);
    }
  }
}

/** A typed array's bytes, with zeros up to `bytes`. */
export function padded(data: HostData, bytes: number): Uint8Array {
  const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (view.byteLength === bytes) return view;
  const result = new Uint8Array(bytes);
  result.set(view);
  return result;
}
