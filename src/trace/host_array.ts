import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { shown, withArticle } from "../base/expect.ts";
import { toBf16 } from "./bf16.ts";
import {
  type Aval,
  type DType,
  type HostArrays,
  hostArrays,
  type HostData,
  requireDtype,
  requireShape,
  type Shape,
  sizeOf,
} from "./dtype.ts";
import { notAnElement } from "./elements.ts";

/**
 * An array on the host, such as an initial value or a tensor of a checkpoint. `D` is its dtype, if known as a type.
 *
 * @example
 * ```ts
 * import { HostArray } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const x = new HostArray(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * assertEquals(x.dtype, "f32");
 * ```
 */
export class HostArray<D extends DType = DType> implements Aval {
  /** Elements, row-major. */
  readonly data: HostArrays[D];
  /** Extent of each axis, in elements. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: D;

  /**
   * Wraps a typed array without copying it.
   *
   * @param data Elements, row-major.
   * @param shape Default: one axis of all elements.
   * @param dtype Default: the dtype of the typed array, which is u32 for a Uint32Array and bf16 for a Uint16Array.
   * @throws {LocalgradError} if the elements do not fill the shape, or the typed array is not one of `dtype`.
   */
  constructor(data: HostArrays[D], shape?: Shape, dtype: D = dtypeOf(data) as D) {
    requireDtype(dtype, "an array");
    if (!(data instanceof hostArrays[dtype])) {
      throw new LocalgradError(
        `${shown(data)} does not contain ${dtype}; pass ${
          withArticle(hostArrays[dtype].name)
        }, or a list of numbers`,
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

/** Tests whether a value is a typed array that has a dtype. */
export function isHostData(data: unknown): data is HostData {
  return Object.values(hostArrays).some((array) => data instanceof array);
}

/** Refuses anything but a typed array of some dtype. */
export function expectHostData(data: unknown): asserts data is HostData {
  if (isHostData(data)) return;
  const remedy = "pass a Float32Array, Int32Array, Uint32Array, Uint8Array, or a Uint16Array of bf16";
  throw new LocalgradError(`${shown(data)} has no dtype here; ${remedy}`);
}

/** The dtype of a typed array; a `Uint16Array` contains the bits of bf16. */
function dtypeOf(data: HostData): DType {
  expectHostData(data);
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Uint16Array) return "bf16";
  if (data instanceof Int32Array) return "i32";
  return data instanceof Uint32Array ? "u32" : "u8";
}

/**
 * Makes a host array from numbers.
 *
 * @throws {LocalgradError} if a number does not fit the dtype.
 */
export function fromList<D extends DType>(values: readonly number[], shape: Shape, dtype: D): HostArray<D> {
  requireDtype(dtype, "array");
  requireShape(shape, "array");
  if (dtype !== "bf16") expectElements(values, dtype);
  const data = new hostArrays[dtype](values.length);
  data.set(dtype === "bf16" ? toBf16(values) : values);
  return new HostArray(data, shape, dtype);
}

/** The elements of an array that is given as a number or a flat list of numbers; refuses anything else. */
export function numbersOf(data: unknown): readonly number[] {
  if (typeof data === "number") return [data];
  if (!Array.isArray(data)) {
    const remedy = data instanceof HostArray
      ? "use put() for it"
      : data instanceof ArrayBuffer
      ? "pass a view of it, such as new Float32Array(buffer)"
      : "pass a number, a flat list of numbers or a typed array";
    throw new LocalgradError(`array: ${shown(data)} is not a list of elements; ${remedy}`);
  }
  for (let i = 0; i < data.length; i++) { // `find` would skip the holes of a sparse list
    const value: unknown = data[i];
    if (typeof value === "number") continue;
    const isNested = Array.isArray(value) || ArrayBuffer.isView(value);
    const remedy = isNested
      ? `pass a flat list and the shape: array(values.flat(Infinity), [${nestedShape(data).join(", ")}])`
      : typeof value === "boolean"
      ? "pass 0 and 1, with the dtype bool"
      : "elements are numbers";
    throw new LocalgradError(`array: element ${i} is ${shown(value)}; ${remedy}`);
  }
  return data;
}

/** The extents of a nested list, by the first elements. */
function nestedShape(list: unknown): number[] {
  const shape: number[] = [];
  for (let level: unknown = list; Array.isArray(level) && shape.length < 8; level = level[0]) {
    shape.push(level.length);
  }
  return shape;
}

/** Refuses numbers that do not fit a dtype. */
function expectElements(values: ArrayLike<number>, dtype: DType): void {
  for (let i = 0; i < values.length; i++) {
    const wrong = notAnElement(at(values, i), dtype);
    if (wrong !== undefined) {
      throw new LocalgradError(`element ${i} of an array: ${wrong}; round it, or make the array f32`);
    }
  }
}

/** The bytes of a typed array, padded with zeros to `bytes`; a view of it if it needs no padding. */
export function padded(data: HostData, bytes: number): Uint8Array {
  const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (view.byteLength === bytes) return view;
  const result = new Uint8Array(bytes);
  result.set(view);
  return result;
}
