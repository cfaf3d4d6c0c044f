/**
 * The headers of the pages of a Parquet file. hyparquet makes arrays as long as a page says that it is, which a damaged
 * header says of billions of values; so they are first compared with the footer.
 *
 * @module
 */

/** A part of a file that holds the pages of one column of a row group, and what the footer says of it. */
export interface Chunk {
  readonly start: number;
  readonly end: number;
  /** The number of its values. */
  readonly values: number;
  /** The bytes of its pages when decompressed. */
  readonly bytes: number;
}

/** Fields of Parquet's `PageHeader`, and of the headers in it, by their numbers in parquet.thrift. */
const UNCOMPRESSED = 2, COMPRESSED = 3, DATA = 5, DICTIONARY = 7, DATA_V2 = 8, VALUES = 1;

/** The fault of a chunk's pages; undefined if they are what the footer says. */
export function pagesFault(bytes: Uint8Array, chunk: Chunk): string | undefined {
  const reader = new Compact(bytes);
  let values = 0;
  while (reader.at < bytes.length && values < chunk.values) {
    const header = reader.struct();
    const page = header.get(DATA) ?? header.get(DATA_V2);
    const count = numberIn(page, VALUES), entries = numberIn(header.get(DICTIONARY), VALUES);
    const [size, length] = [numberIn(header, UNCOMPRESSED), numberIn(header, COMPRESSED)];
    values += count;
    if (Math.min(count, entries, size, length) < 0) return "a page of a negative size";
    if (values > chunk.values) return `a page of ${count} values in a column of ${chunk.values}`;
    // A dictionary lists each value once; the shortest is an empty text, of four bytes.
    if (entries > size) return `a dictionary of ${entries} values in ${size} bytes`;
    if (size > chunk.bytes) return `a page of ${size} bytes in a column of ${chunk.bytes}`;
    if (reader.at + length > bytes.length) return "a page that is cut off";
    reader.at += length;
  }
  return undefined;
}

/** A field of a struct: a number, or a struct; others are skipped. */
type Field = number | Fields;
type Fields = ReadonlyMap<number, Field>;

/** The number in a field of a struct; 0 if there is none. */
function numberIn(fields: Field | undefined, id: number): number {
  const value = fields instanceof Map ? fields.get(id) : undefined;
  return typeof value === "number" ? value : 0;
}

/** Headers are nested twice. */
const DEEPEST = 8;

/** Reads structs in Thrift's compact protocol. */
class Compact {
  at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  struct(depth: number = 0): Fields {
    if (depth > DEEPEST) throw new Error("a header nested too deep");
    const fields = new Map<number, Field>();
    for (let id = 0;;) {
      const head = this.#byte();
      if (head === 0) return fields;
      id = head >> 4 === 0 ? this.#zigzag() : id + (head >> 4);
      const value = this.#value(head & 15, depth);
      if (value !== undefined) fields.set(id, value);
    }
  }

  /** A value of a type by its number; undefined for one that is skipped. */
  #value(type: number, depth: number): Field | undefined {
    switch (type) {
      case 1: // true and false
      case 2:
        return undefined;
      case 3:
        this.#skip(1);
        return undefined;
      case 4: // integers
      case 5:
      case 6:
        return this.#zigzag();
      case 7:
        this.#skip(8);
        return undefined;
      case 8: // bytes
        this.#skip(this.#varint());
        return undefined;
      case 9: // lists and sets
      case 10: {
        const head = this.#byte();
        const count = head >> 4 === 15 ? this.#varint() : head >> 4;
        for (let i = 0; i < count; i++) this.#element(head & 15, depth);
        return undefined;
      }
      case 12:
        return this.struct(depth + 1);
      default:
        throw new Error(`a header with a field of type ${type}`);
    }
  }

  /** Of a list; unlike a field, a truth value takes a byte. */
  #element(type: number, depth: number): void {
    if (type <= 2) this.#skip(1);
    else this.#value(type, depth + 1);
  }

  #byte(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new Error("a header that is cut off");
    return byte;
  }

  #skip(count: number): void {
    this.at += count;
    if (this.at > this.#bytes.length) throw new Error("a header that is cut off");
  }

  /** An unsigned number of at most ten bytes. */
  #varint(): number {
    let value = 0;
    for (let place = 1, i = 0; i < 10; i++, place *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * place;
      if (byte < 128) return value;
    }
    throw new Error("a header with a number of more than ten bytes");
  }

  #zigzag(): number {
    const value = this.#varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }
}
