import { LocalgradError } from "../base/errors.ts";
import { expectKind, shown as described } from "../base/expect.ts";
import { type DType, type HostData, sizeOf } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";

/** Contents of a safetensors file. */
export interface TensorFile {
  /** Tensors by name. */
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** Free text by name: the header's `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Types in the file of converted tensors, by name: I64 (PyTorch's counters) is read as i32; F16, BF16 and F64 as f32.
   * Of these only I64 can be written.
   */
  readonly types?: ReadonlyMap<string, string>;
  /** Types in the file of the tensors that localgrad does not read, by name; none of them can be written. */
  readonly skipped?: ReadonlyMap<string, string>;
}

/** The header's entry for a tensor: its type, its shape, and its first and last offset in the data. */
interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [from: number, to: number];
}

/** Bytes of the longest file that is read. */
export const FILE_LIMIT = 4 * 2 ** 30;
const HEADER_LIMIT = 100_000_000; // as in the format's own reader
const NAMES: Readonly<Partial<Record<DType, string>>> = { f32: "F32", i32: "I32", u32: "U32", u8: "U8" };
const UNCONVERTED: ReadonlySet<string> = new Set(["F32", "I32", "U32", "U8"]);

/** Reads the elements of each type; undefined if their values do not fit. */
const readers = new Map<string, (buffer: ArrayBuffer) => HostData | undefined>(Object.entries({
  F32: (buffer) => new Float32Array(buffer),
  I32: (buffer) => new Int32Array(buffer),
  U32: (buffer) => new Uint32Array(buffer),
  U8: (buffer) => new Uint8Array(buffer),
  I64(buffer: ArrayBuffer) {
    const wide = new BigInt64Array(buffer);
    return wide.every((value) => value === BigInt.asIntN(32, value))
      ? Int32Array.from(wide, Number)
      : undefined;
  },
  F64: (buffer) => Float32Array.from(new Float64Array(buffer)),
  F16: (buffer) => Float32Array.from(new Float16Array(buffer)),
  // A bfloat16 is the upper half of a float32.
  BF16: (buffer) => new Float32Array(Uint32Array.from(new Uint16Array(buffer), (half) => half << 16).buffer),
}));

/**
 * Encodes tensors as a safetensors file: the length of the header in 8 bytes, the header as JSON, the data
 * (https://github.com/huggingface/safetensors). The data start at a multiple of 8 bytes.
 */
export function encodeSafetensors(file: TensorFile): Uint8Array<ArrayBuffer> {
  expectKind("encodeSafetensors: the file", file, "object");
  const { tensors, metadata, types } = file;
  expectTensors("encodeSafetensors", tensors);
  const header: Record<string, unknown> = { __metadata__: metadata };
  const contents: ArrayBufferView[] = [];
  let end = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    const type = types?.get(name) ?? NAMES[dtype];
    if (type === undefined || (type !== NAMES[dtype] && (type !== "I64" || dtype !== "i32"))) {
      throw new LocalgradError(
        `safetensors: ${name} is ${dtype}, which cannot be written as ${type ?? "a type of the format"}`,
      );
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

/** Bits per element of every type of the format (version 0.8). The size of other types is not checked. */
const BITS = new Map<string, number>(Object.entries({
  ...{ F4: 4, F6_E2M3: 6, F6_E3M2: 6, F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8 },
  ...{ BOOL: 8, U8: 8, I8: 8, I16: 16, U16: 16, I32: 32, U32: 32, I64: 64, U64: 64 },
  ...{ F16: 16, BF16: 16, F32: 32, F64: 64, C64: 64 },
}));

/**
 * Decodes a safetensors file: its F32, I32, U32 and U8 tensors, and those of other types that can be converted, see
 * {@link TensorFile.types}. {@link TensorFile.skipped} lists the rest. Like the format's own reader, it refuses data that
 * belong to no tensor or to several.
 *
 * @param name The file's name in error messages.
 * @throws {LocalgradError} if the file is truncated or damaged.
 */
export function decodeSafetensors(bytes: Uint8Array<ArrayBuffer>, name: string): TensorFile {
  const damaged = (why: string) => new LocalgradError(`${name} is not a complete safetensors file: ${why}`);
  expectKind("decodeSafetensors: the name", name, "string");
  if (!(bytes instanceof Uint8Array)) {
    throw new LocalgradError(`${name}: the bytes of the file must be a Uint8Array, not ${described(bytes)}`);
  }
  if (bytes.length < 8) throw damaged("it is shorter than its header");
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > HEADER_LIMIT || 8 + length > bytes.length) throw damaged("it is shorter than its header");
  const data = bytes.subarray(8 + length);
  const { __metadata__: metadata, ...entries } = parseHeader(bytes.subarray(8, 8 + length), damaged);
  const tensors = new Map<string, HostArray>();
  const types = new Map<string, string>();
  const skipped = new Map<string, string>();
  for (const [key, { dtype, shape, data_offsets: [from, to] }] of placed(entries, data.length, damaged)) {
    const bits = BITS.get(dtype);
    if (bits !== undefined && (to - from) * 8 !== sizeOf(shape) * bits) {
      throw damaged(`the size of ${shown(key)} does not fit its shape`);
    }
    const read = readers.get(dtype)?.(data.slice(from, to).buffer);
    if (read === undefined) {
      skipped.set(key, dtype);
      continue;
    }
    tensors.set(key, new HostArray(read, shape));
    if (!UNCONVERTED.has(dtype)) types.set(key, dtype);
  }
  return {
    tensors,
    metadata: metadataOf(metadata, damaged),
    ...(types.size === 0 ? {} : { types }),
    ...(skipped.size === 0 ? {} : { skipped }),
  };
}

type Damaged = (why: string) => LocalgradError;

/** The entries in the header's order; refuses gaps in the data and overlaps. */
function placed(
  entries: { readonly [name: string]: unknown },
  length: number,
  damaged: Damaged,
): [string, Entry][] {
  const checked = Object.entries(entries).map(([key, entry]): [string, Entry] => [
    key,
    checkEntry(entry, key, damaged),
  ]);
  const inOrder = checked.map(([key, { data_offsets: [from, to] }]) => ({ key, from, to }))
    .toSorted((a, b) => a.from - b.from || a.to - b.to);
  let end = 0;
  for (const { key, from, to } of inOrder) {
    if (from !== end) {
      throw damaged(`${shown(key)} begins at ${from}, but the data before it end at ${end}`);
    }
    if (to < from) throw damaged(`${shown(key)} ends before it begins`);
    if (to > length) throw damaged(`it ends before ${shown(key)} does`);
    end = to;
  }
  if (end !== length) throw damaged(`it has ${length} bytes of data instead of ${end}`);
  return checked;
}

function parseHeader(bytes: Uint8Array, damaged: Damaged): { readonly [name: string]: unknown } {
  let text: string, header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch {
    throw damaged("its header is not JSON");
  }
  if (!isRecord(header)) throw damaged("its header is not an object");
  const twice = repeatedName(text);
  if (twice !== undefined) throw damaged(`its header has ${shown(twice)} twice`);
  return header;
}

function isRecord(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A name that occurs twice in an object of JSON text, which `JSON.parse` does not report. The text must be JSON. */
function repeatedName(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "{") open.push(new Set());
    else if (char === "}") open.pop();
    if (char !== '"') continue;
    const start = at;
    while (text[++at] !== '"') if (text[at] === "\\") at++;
    let next = at + 1;
    while (" \t\n\r".includes(text[next] ?? "-")) next++;
    if (text[next] !== ":") continue;
    const name: string = JSON.parse(text.slice(start, at + 1));
    const names = open.at(-1);
    if (names?.has(name)) return name;
    names?.add(name);
  }
  return undefined;
}

/** The metadata: text by name; empty if there are none. */
function metadataOf(value: unknown, damaged: Damaged): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  const isText = (entry: [string, unknown]): entry is [string, string] => typeof entry[1] === "string";
  const entries = isRecord(value) ? Object.entries(value) : undefined;
  if (entries === undefined || !entries.every(isText)) throw damaged("its metadata is not text by name");
  return Object.fromEntries(entries);
}

function checkEntry(entry: unknown, key: string, damaged: Damaged): Entry {
  const { dtype, shape, data_offsets: offsets } = isRecord(entry) ? entry : {};
  const counts = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
  const [from, to, ...more] = counts(offsets) ? offsets : [];
  if (
    typeof dtype !== "string" || !counts(shape) || from === undefined || to === undefined || more.length > 0
  ) throw damaged(`its header's entry for ${shown(key)} is incomplete`);
  return { dtype, shape, data_offsets: [from, to] };
}

/** A tensor's name in a message. */
function shown(name: string): string {
  return /^[\w.]{1,100}$/.test(name) ? name : JSON.stringify(name.slice(0, 100));
}

/** Refuses anything but tensors by name; `who` begins the message. */
export function expectTensors(who: string, tensors: ReadonlyMap<string, HostArray>): void {
  if (tensors instanceof Map && [...tensors.values()].every((array) => array instanceof HostArray)) return;
  throw new LocalgradError(
    `${who}: the tensors must be a Map of host arrays by name, not ${described(tensors)}`,
  );
}
