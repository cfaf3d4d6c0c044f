import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";

/**
 * Element types. `bool` is stored as a `u32` holding 0 or 1 on every backend; `u8` is storage only: `gather` and
 * `cast` read it, nothing writes it, and its buffers are padded to whole `u32` words because WGSL has no bytes. `bf16`
 * (see `bf16.ts`) takes two bytes and exists only where the device has it; each op's result is rounded to it.
 */
export type DType = "f32" | "bf16" | "i32" | "u32" | "bool" | "u8";

/** Whether it is a dtype of real numbers, through which gradients flow. */
export function isFloat(dtype: DType): dtype is "f32" | "bf16" {
  return dtype === "f32" || dtype === "bf16";
}

/** The typed array that holds each {@link DType} on the host. */
export interface HostArrays {
  /** 32-bit floats. */
  f32: Float32Array;
  /** The upper 16 bits of 32-bit floats; `toBf16` and `fromBf16` convert. */
  bf16: Uint16Array;
  /** 32-bit signed integers. */
  i32: Int32Array;
  /** 32-bit unsigned integers. */
  u32: Uint32Array;
  /** 0 or 1, one word an element. */
  bool: Uint32Array;
  /** Bytes. */
  u8: Uint8Array;
}

/** Any typed array a device array can be made from or read into. */
export type HostData = HostArrays[DType];

/** The constructor of the typed array that holds a {@link DType} on the host. */
export const hostArrays: {
  readonly [D in DType]: {
    new (length: number): HostArrays[D];
    new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): HostArrays[D];
    readonly name: string;
    readonly BYTES_PER_ELEMENT: number;
  };
} = {
  f32: Float32Array,
  bf16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint32Array,
  u8: Uint8Array,
};

/** A shape: the number of elements along each axis, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/** Shape and element type: all that tracing knows of a value. */
export interface Aval {
  /** Elements along each axis. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;
}

/** Raises an error for what is no shape; `what` says whose it would be. */
export function requireShape(shape: Shape, what: string): void {
  if (!Array.isArray(shape)) {
    throw new LocalgradError(
      `${what}: ${shown(shape)} is no shape; pass a list, such as [2, 3], or [] for a scalar`,
    );
  }
  if (shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)) return;
  throw new LocalgradError(
    `${what}: [${shape.map(shown).join(",")}] is no shape; extents are whole numbers, 0 or more`,
  );
}

/** Raises an error for what has no shape and dtype. */
export function requireAval(aval: Aval, what: string): void {
  if (typeof aval !== "object" || aval === null) {
    throw new LocalgradError(`${what}: ${shown(aval)} is no array; give one with shape and dtype`);
  }
  requireShape(aval.shape, what);
  requireDtype(aval.dtype, what);
}

/** Raises an error for what is no dtype; `what` says whose it would be. */
export function requireDtype(dtype: DType, what: string): void {
  if (Object.hasOwn(hostArrays, dtype)) return;
  throw new LocalgradError(
    `${what}: ${shown(dtype)} is no dtype; choose ${Object.keys(hostArrays).join(", ")}`,
  );
}

/** The number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (let axis = 0; axis < shape.length; axis++) size *= shape[axis];
  return size;
}

/** The bytes a value takes on a device: its elements, padded to whole 4-byte words. */
export function bytesOf(aval: Aval): number {
  return Math.ceil(sizeOf(aval.shape) * hostArrays[aval.dtype].BYTES_PER_ELEMENT / 4) * 4;
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

/** Whether two shapes are the same. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** How a value is written in messages and printed programs: `f32[32,16,16,8]`. */
export function formatAval(aval: Aval): string {
  return `${aval.dtype}[${aval.shape.join(",")}]`;
}
