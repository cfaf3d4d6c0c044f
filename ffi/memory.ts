/**
 * Host memory as C sees it. Addresses are taken once, when a plan is compiled, and not in every step.
 *
 * @module
 */
import { at } from "../src/base/at.ts";

/** The address of a typed array's first byte. The caller keeps the array alive for as long as C may use it. */
export function addressOf(view: ArrayBufferView<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(view));
}

/** The text of the C string at an address; undefined for the null address. */
export function textAt(address: bigint): string | undefined {
  const pointer = Deno.UnsafePointer.create(address);
  return pointer === null ? undefined : Deno.UnsafePointerView.getCString(pointer);
}

/** An array over `bytes` bytes of memory that C owns. */
export function bytesAt(address: bigint, bytes: number): Uint8Array<ArrayBuffer> {
  const pointer = Deno.UnsafePointer.create(address);
  if (pointer === null) throw new Error("there is no memory at the null address");
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, bytes));
}

/** A C string: UTF-8, terminated by a zero byte. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

/** The text in a buffer that C filled with a string. */
export function textOf(buffer: Uint8Array): string {
  const end = buffer.indexOf(0);
  return new TextDecoder().decode(end < 0 ? buffer : buffer.subarray(0, end));
}

/** A variable that a C function writes its result to: pass {@link buffer}, then read {@link value}. */
export class Out<T extends number | bigint> {
  /** The memory of the variable. */
  readonly buffer: ArrayLike<T> & ArrayBufferView<ArrayBuffer>;

  /** A variable in an array of one element. */
  constructor(buffer: ArrayLike<T> & ArrayBufferView<ArrayBuffer>) {
    this.buffer = buffer;
  }

  /** The result. */
  get value(): T {
    return at(this.buffer, 0);
  }
}

/** A variable for a 64-bit result: a handle, an address, or a size. */
export function outU64(): Out<bigint> {
  return new Out(new BigUint64Array(1));
}

/** A variable for a 32-bit integer. */
export function outI32(): Out<number> {
  return new Out(new Int32Array(1));
}

/** An array of C strings (`const char* const*`); keeps the strings alive. */
export class CStrings {
  /** The addresses, to pass as a `buffer`. */
  readonly addresses: BigUint64Array<ArrayBuffer>;
  readonly #strings: readonly Uint8Array<ArrayBuffer>[];

  /** Copies texts. */
  constructor(texts: readonly string[]) {
    this.#strings = texts.map(cString);
    this.addresses = BigUint64Array.from(this.#strings, addressOf);
  }
}
