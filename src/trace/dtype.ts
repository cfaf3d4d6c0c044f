import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";

/**
 * Element types. Every backend stores `bool` as a `u32` of 0 or 1. `u8` is for storage only: `gather` and `cast` read
 * it, no op writes it, and buffers of it are padded to whole `u32` words because WGSL has no bytes. `bf16` takes two
 * bytes and exists only on devices that support it; the result of each op is rounded to it.
 */
export type DType = "f32" | "bf16" | "i32" | "u32" | "bool" | "u8";

/** Tests for a floating-point dtype, through which gradients flow. */
export function isFloat(dtype: DType): dtype is "f32" | "bf16" {
  return dtype === "f32" || dtype === "bf16";
}

/** The typed array of each {@link DType} on the host. */
export interface HostArrays {
  /** 32-bit floats. */
  f32: Float32Array;
  /** The upper 16 bits of 32-bit floats; {@link toBf16} and {@link fromBf16} convert. */
  bf16: Uint16Array;
  /** 32-bit signed integers. */
  i32: Int32Array;
  /** 32-bit unsigned integers. */
  u32: Uint32Array;
  /** 0 or 1, one word per element. */
  bool: Uint32Array;
  /** Bytes. */
  u8: Uint8Array;
}

/** A typed array that a device array can be made from or read into. */
export type HostData = HostArrays[DType];

/** The constructor of the typed array of each {@link DType} on the host. */
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

/** The extent of each axis, in elements, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/** Shape and element type of a value: all that tracing knows about it. */
export interface Aval {
  /** Extent of each axis, in elements. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;
}

/**
 * Requires a shape: a list of whole numbers, 0 or more.
 *
 * @param what Begins the message; it names the owner of the shape.
 * @throws {LocalgradError} for anything else.
 */
export function requireShape(shape: unknown, what: string): asserts shape is Shape {
  if (!Array.isArray(shape)) {
    throw new LocalgradError(
      `${what}: ${shown(shape)} is not a shape; pass a list, such as [2, 3], or [] for a scalar`,
    );
  }
  if (shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)) return;
  throw new LocalgradError(
    `${what}: [${shape.map(shown).join(",")}] is not a shape; extents are whole numbers, 0 or more`,
  );
}

/**
 * Requires an object with a shape and a dtype.
 *
 * @param what Begins the message; it names the value.
 * @throws {LocalgradError} for anything else.
 */
export function requireAval(aval: unknown, what: string): asserts aval is Aval {
  if (typeof aval !== "object" || aval === null) {
    throw new LocalgradError(
      `${what}: ${shown(aval)} is not an array; pass an object with shape and dtype`,
    );
  }
  requireShape("shape" in aval ? aval.shape : undefined, what);
  requireDtype("dtype" in aval ? aval.dtype : undefined, what);
}

/**
 * Requires the name of a dtype.
 *
 * @param what Begins the message; it names the owner of the dtype.
 * @throws {LocalgradError} for anything else.
 */
export function requireDtype(dtype: unknown, what: string): asserts dtype is DType {
  if (typeof dtype === "string" && Object.hasOwn(hostArrays, dtype)) return;
  throw new LocalgradError(
    `${what}: ${shown(dtype)} is not a dtype; choose ${Object.keys(hostArrays).join(", ")}`,
  );
}

/** The number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

/** The size of a value on a device, in bytes: its elements, padded to whole 4-byte words. */
export function bytesOf(aval: Aval): number {
  return Math.ceil(sizeOf(aval.shape) * hostArrays[aval.dtype].BYTES_PER_ELEMENT / 4) * 4;
}

/** The row-major stride of each axis, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= at(shape, axis);
  }
  return strides;
}

/** Tests two shapes for equality. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** The dtype and shape of a value as messages and printed programs show them: `f32[32,16,16,8]`. */
export function formatAval(aval: Aval): string {
  return `${aval.dtype}[${aval.shape.join(",")}]`;
}
