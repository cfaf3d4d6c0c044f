import { Buffer } from "node:buffer";
import { constants, inflateSync, type ZlibOptions } from "node:zlib";
import { LocalgradError } from "../base/errors.ts";
import { shown } from "./regular.ts";

/** A numeric array of a `.mat` file. */
export interface MatArray {
  /** Its extents; the first axis varies fastest. */
  readonly shape: readonly number[];
  /** Its elements; a file may store them in a narrower type than that of the array. */
  readonly data: Uint8Array | Float64Array;
}

// Element types and array classes of "MAT-File Format", version 5 (The MathWorks).
const MATRIX = 14;
const COMPRESSED = 15;
const COMPLEX = 0x800;
const HEADER_BYTES = 128;

type Read = (view: DataView, at: number, little: boolean) => number;
const NUMBERS: Readonly<Record<number, readonly [bytes: number, read: Read]>> = {
  1: [1, (view, at) => view.getInt8(at)],
  2: [1, (view, at) => view.getUint8(at)],
  3: [2, (view, at, little) => view.getInt16(at, little)],
  4: [2, (view, at, little) => view.getUint16(at, little)],
  5: [4, (view, at, little) => view.getInt32(at, little)],
  6: [4, (view, at, little) => view.getUint32(at, little)],
  7: [4, (view, at, little) => view.getFloat32(at, little)],
  9: [8, (view, at, little) => view.getFloat64(at, little)],
  12: [8, (view, at, little) => Number(view.getBigInt64(at, little))],
  13: [8, (view, at, little) => Number(view.getBigUint64(at, little))],
};
const BYTES = 2; // unsigned bytes, which are returned without a copy
const NUMERIC_CLASSES = [6, 7, 8, 9, 10, 11, 12, 13, 14, 15]; // double, single, int8 … uint64

interface Element {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/**
 * Reads the real numeric arrays of a MATLAB version 5 file (`.mat`), compressed or not, in either byte order. Skips text,
 * structures, cells, sparse and complex arrays.
 *
 * @param bytes The content of the file.
 * @param where The file's name in messages.
 * @param most The most bytes that its compressed arrays may decompress to in total.
 * @returns The arrays by name.
 * @throws {LocalgradError} if the file is of another version, truncated, damaged or too large.
 */
export function readMat(bytes: Uint8Array, where: string, most: number): Map<string, MatArray> {
  const little = checkHeader(bytes, where);
  const arrays = new Map<string, MatArray>();
  let left = most;
  for (const element of elements(bytes, HEADER_BYTES, little, where)) {
    let inner: Iterable<Element> = [element];
    if (element.type === COMPRESSED) {
      const size = inflatedSize(element.bytes, little, where);
      left -= size;
      if (left < 0) {
        throw new LocalgradError(
          `${where} decompresses to more than ${most} bytes; save numbers from 0 to 255 as uint8`,
        );
      }
      inner = elements(inflate(element.bytes, where, { maxOutputLength: size }), 0, little, where);
    }
    for (const { type, bytes } of inner) {
      if (type === MATRIX) readMatrix(bytes, little, where, arrays);
    }
  }
  return arrays;
}

/** Returns true if the file is little-endian. */
function checkHeader(bytes: Uint8Array, where: string): boolean {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 116));
  if (text.startsWith("MATLAB 7.3")) {
    throw new LocalgradError(
      `${where} is a MATLAB 7.3 file (HDF5), and only version 5 can be read; save it with -v7`,
    );
  }
  const order = new TextDecoder("latin1").decode(bytes.subarray(126, 128));
  const [low, high] = order === "IM" ? [124, 125] : [125, 124];
  if ((order !== "IM" && order !== "MI") || bytes[high] !== 1 || bytes[low] !== 0) {
    throw new LocalgradError(`${where} is not a MATLAB version 5 file, or its header is damaged`);
  }
  return order === "IM";
}

const TAG = 8;
const LONGEST_NAME = 63; // MATLAB's
const PREFIX = 1024; // compressed bytes that always contain the tag: the code table before it takes at most 562

/** Reads the size of a compressed element from its tag, decompressing only that. */
function inflatedSize(bytes: Uint8Array, little: boolean, where: string): number {
  const prefix = inflate(bytes.subarray(0, PREFIX), where, { finishFlush: constants.Z_SYNC_FLUSH });
  if (prefix.length < TAG) throw truncated(where);
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength);
  if (view.getUint32(0, little) !== MATRIX) throw damaged(where, "a compressed element is not an array");
  return TAG + view.getUint32(4, little);
}

function inflate(bytes: Uint8Array, where: string, options: ZlibOptions): Uint8Array {
  try {
    return inflateSync(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), options);
  } catch (error) {
    if (error instanceof RangeError) throw damaged(where, "an array is longer than its tag states");
    throw damaged(where, error instanceof Error ? error.message : String(error));
  }
}

function damaged(where: string, how: string): LocalgradError {
  return new LocalgradError(`${where} is damaged: ${how}; download it again`);
}

/**
 * Reads consecutive elements: a tag of type and size, the data, padding to 8 bytes. The data of short elements is in
 * their tag.
 */
function* elements(bytes: Uint8Array, from: number, little: boolean, where: string): Generator<Element> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = from; at < bytes.length;) {
    if (bytes.length - at < TAG) throw truncated(where);
    const word = view.getUint32(at, little);
    const short = word >>> 16 !== 0;
    const type = short ? word & 0xffff : word;
    const size = short ? word >>> 16 : view.getUint32(at + 4, little);
    const start = short ? at + 4 : at + 8;
    if (short && size > 4) throw damaged(where, `an element of ${size} bytes does not fit in its tag`);
    if (start + size > bytes.length) throw truncated(where);
    yield { type, bytes: bytes.subarray(start, start + size) };
    const whole = short || type === COMPRESSED ? size : Math.ceil(size / 8) * 8;
    at = short ? at + 8 : start + whole;
  }
}

function truncated(where: string): LocalgradError {
  return new LocalgradError(`${where} is truncated: it ends in the middle of an array; download it again`);
}

function readMatrix(bytes: Uint8Array, little: boolean, where: string, arrays: Map<string, MatArray>): void {
  const [flags, extents, name, real] = elements(bytes, 0, little, where);
  if (flags === undefined || flags.bytes.length < 8) throw damaged(where, "an array has no flags");
  const [word = 0] = numbers(flags, little, where);
  if (!NUMERIC_CLASSES.includes(word & 0xff) || (word & COMPLEX) !== 0) return;
  if (extents === undefined || name === undefined || real === undefined) {
    throw damaged(where, "an array is incomplete");
  }
  const shape = [...numbers(extents, little, where)];
  const title = shown(new TextDecoder("latin1").decode(name.bytes.subarray(0, LONGEST_NAME)));
  const data = numbers(real, little, where);
  if (
    shape.some((extent) => extent < 0) || shape.reduce((size, extent) => size * extent, 1) !== data.length
  ) {
    throw damaged(where, `${title} has ${data.length} elements and the shape ${shape.join("×")}`);
  }
  arrays.set(title, { shape, data });
}

function numbers({ type, bytes }: Element, little: boolean, where: string): Uint8Array | Float64Array {
  if (type === BYTES) return bytes;
  if (NUMBERS[type] === undefined) throw damaged(where, `it has an element of unknown type ${type}`);
  const [size, read] = NUMBERS[type];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float64Array.from(
    { length: Math.floor(bytes.length / size) },
    (_, i) => read(view, i * size, little),
  );
}
