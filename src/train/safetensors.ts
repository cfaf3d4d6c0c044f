import { LocalgradError } from "../errors.ts";
import { HostArray } from "../trace/arrays.ts";
import { type DType, hostArrays, sizeOf } from "../trace/dtype.ts";

/** What a safetensors file holds. */
export interface TensorFile {
  /** Tensors by name. */
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** Free text by name: the header's `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** The header's entry for a tensor. */
interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

const HEADER_LIMIT = 100_000_000; // as the format's own reader has it
const NAMES: Readonly<Partial<Record<DType, string>>> = { f32: "F32", i32: "I32", u32: "U32", u8: "U8" };
const DTYPES: Readonly<Record<string, DType>> = { F32: "f32", I32: "i32", U32: "u32", U8: "u8" };

/**
 * Tensors as a safetensors file: the length of the header in 8 bytes, the header as JSON, the data
 * (https://github.com/huggingface/safetensors). Data start at a multiple of 8 bytes.
 */
export function encodeSafetensors({ tensors, metadata }: TensorFile): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    if (NAMES[dtype] === undefined) {
      throw new LocalgradError(`safetensors: ${name} is ${dtype}, which is not written`);
    }
    header[name] = { dtype: NAMES[dtype], shape, data_offsets: [end, end += data.byteLength] };
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = 8 + Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(start + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - 8), true);
  bytes.fill(0x20, 8, start); // the format pads the header with spaces
  bytes.set(text, 8);
  let at = start;
  for (const { data } of tensors.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

/**
 * Reads a safetensors file of F32, I32, U32, U8 and I64 tensors; the last, PyTorch's counters, become i32. `name` is
 * what error messages call it.
 *
 * @throws {LocalgradError} where the file is truncated, damaged or holds other types.
 */
export function decodeSafetensors(bytes: Uint8Array<ArrayBuffer>, name: string): TensorFile {
  const damaged = (why: string) => new LocalgradError(`${name} is no whole safetensors file: ${why}`);
  if (bytes.length < 8) throw damaged("it is shorter than its header");
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > HEADER_LIMIT || 8 + length > bytes.length) throw damaged("it is shorter than its header");
  const data = bytes.subarray(8 + length);
  const { __metadata__: metadata = {}, ...entries } = parseHeader(bytes.subarray(8, 8 + length), damaged);
  const tensors = new Map<string, HostArray>();
  let total = 0;
  for (const [key, entry] of Object.entries(entries)) {
    const { dtype, shape, data_offsets: [from, to] } = checkEntry(entry, key, damaged);
    total += to - from;
    const width = dtype === "I64" ? 8 : dtype === "U8" ? 1 : 4;
    if (to - from !== sizeOf(shape) * width) throw damaged(`the size of ${key} does not fit its shape`);
    if (to > data.length) throw damaged(`it ends before ${key} does`);
    tensors.set(key, toArray(data.slice(from, to).buffer, dtype, shape, key, name));
  }
  if (total !== data.length) throw damaged(`it has ${data.length} bytes of data instead of ${total}`);
  return { tensors, metadata: metadata as Record<string, string> };
}

function parseHeader(bytes: Uint8Array, damaged: (why: string) => Error): Record<string, unknown> {
  try {
    const header: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof header === "object" && header !== null) return header as Record<string, unknown>;
  } catch { // said below
  }
  throw damaged("its header is not JSON");
}

function checkEntry(entry: unknown, key: string, damaged: (why: string) => Error): Entry {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Partial<Entry>;
  const counts = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (typeof dtype !== "string" || !counts(shape) || !counts(offsets) || offsets.length !== 2) {
    throw damaged(`its header's entry for ${key} is incomplete`);
  }
  return entry as Entry;
}

function toArray(
  buffer: ArrayBuffer,
  type: string,
  shape: readonly number[],
  key: string,
  name: string,
): HostArray {
  if (type === "I64") {
    const values = new BigInt64Array(buffer);
    return new HostArray(Int32Array.from(values, Number), shape);
  }
  const dtype = DTYPES[type];
  if (dtype === undefined) {
    throw new LocalgradError(`${name}: ${key} is ${type}; save it as F32, I32, U32, U8 or I64`);
  }
  return new HostArray(new hostArrays[dtype](buffer), shape, dtype);
}
