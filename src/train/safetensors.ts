import { LocalgradError } from "../errors.ts";
import { HostArray } from "../trace/arrays.ts";
import { type DType, type HostData, sizeOf } from "../trace/dtype.ts";

/** What a safetensors file holds. */
export interface TensorFile {
  /** Tensors by name. */
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** Free text by name: the header's `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Types in the file of tensors that localgrad holds as another: I64 (PyTorch's counters) as i32; F16, BF16 and F64 as
   * f32. Of these only I64 is written.
   */
  readonly types?: ReadonlyMap<string, string>;
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

/** How the elements of each type are read. */
const readers: {
  readonly [type: string]: { readonly bytes: number; readonly read: (buffer: ArrayBuffer) => HostData };
} = {
  F32: { bytes: 4, read: (buffer) => new Float32Array(buffer) },
  I32: { bytes: 4, read: (buffer) => new Int32Array(buffer) },
  U32: { bytes: 4, read: (buffer) => new Uint32Array(buffer) },
  U8: { bytes: 1, read: (buffer) => new Uint8Array(buffer) },
  I64: { bytes: 8, read: (buffer) => Int32Array.from(new BigInt64Array(buffer), Number) },
  F64: { bytes: 8, read: (buffer) => Float32Array.from(new Float64Array(buffer)) },
  F16: { bytes: 2, read: (buffer) => Float32Array.from(new Float16Array(buffer)) },
  // A bfloat16 is the upper half of a float32.
  BF16: {
    bytes: 2,
    read: (buffer) =>
      new Float32Array(Uint32Array.from(new Uint16Array(buffer), (half) => half << 16).buffer),
  },
};

/**
 * Tensors as a safetensors file: the length of the header in 8 bytes, the header as JSON, the data
 * (https://github.com/huggingface/safetensors). Data start at a multiple of 8 bytes.
 */
export function encodeSafetensors({ tensors, metadata, types }: TensorFile): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  const contents: ArrayBufferView[] = [];
  let end = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    const type = types?.get(name) ?? NAMES[dtype];
    if (type === undefined || (type !== NAMES[dtype] && (type !== "I64" || dtype !== "i32"))) {
      throw new LocalgradError(`safetensors: ${name} is ${dtype}, which is not written as ${type ?? "such"}`);
    }
    const content = type === "I64" ? BigInt64Array.from(data, BigInt) : data;
    header[name] = { dtype: type, shape, data_offsets: [end, end += content.byteLength] };
    contents.push(content);
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = 8 + Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(start + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - 8), true);
  bytes.fill(0x20, 8, start); // the format pads the header with spaces
  bytes.set(text, 8);
  let at = start;
  for (const { buffer, byteOffset, byteLength } of contents) {
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += byteLength;
  }
  return bytes;
}

/**
 * Reads a safetensors file of F32, I32, U32 and U8 tensors, and of those that {@link TensorFile.types} tells of.
 * `name` is what error messages call it.
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
  if (!isText(metadata)) throw damaged("its metadata is not text by name");
  const tensors = new Map<string, HostArray>();
  const types = new Map<string, string>();
  let total = 0;
  for (const [key, entry] of Object.entries(entries)) {
    const { dtype, shape, data_offsets: [from, to] } = checkEntry(entry, key, damaged);
    total += to - from;
    const reader = readers[dtype];
    if (reader === undefined) {
      const known = Object.keys(readers).join(", ");
      throw new LocalgradError(`${name}: ${key} is ${dtype}; save it as one of ${known}`);
    }
    if (to - from !== sizeOf(shape) * reader.bytes) {
      throw damaged(`the size of ${key} does not fit its shape`);
    }
    if (to > data.length) throw damaged(`it ends before ${key} does`);
    tensors.set(key, new HostArray(reader.read(data.slice(from, to).buffer), shape));
    if (!(dtype in DTYPES)) types.set(key, dtype);
  }
  if (total !== data.length) throw damaged(`it has ${data.length} bytes of data instead of ${total}`);
  return { tensors, metadata, ...(types.size === 0 ? {} : { types }) };
}

function parseHeader(bytes: Uint8Array, damaged: (why: string) => Error): Record<string, unknown> {
  try {
    const header: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof header === "object" && header !== null) return header as Record<string, unknown>;
  } catch { // said below
  }
  throw damaged("its header is not JSON");
}

/** Whether a value is a map of texts, as the format has its metadata. */
function isText(value: unknown): value is Record<string, string> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === "string");
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
