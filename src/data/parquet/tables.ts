import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
} from "npm:hyparquet@1.33.0";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { LocalgradError } from "../../base/errors.ts";
import { shown, unreadable } from "../regular.ts";
import { type Chunk, pagesFault } from "./pages.ts";

/** Compression beyond Snappy, which hyparquet reads itself. */
const compressors: Compressors = {
  ZSTD: (input, maxOutputLength) => zstdDecompressSync(input, { maxOutputLength }),
  GZIP: (input, maxOutputLength) => gunzipSync(input, { maxOutputLength }),
  BROTLI: (input, maxOutputLength) => brotliDecompressSync(input, { maxOutputLength }),
};
const READ = ["UNCOMPRESSED", "SNAPPY", ...Object.keys(compressors)];

/** A Parquet file that is open for reading. */
export class Table implements Disposable {
  readonly path: string;
  readonly metadata: FileMetaData;
  readonly #file: Deno.FsFile;
  readonly #buffer: AsyncBuffer;

  private constructor(path: string, file: Deno.FsFile, buffer: AsyncBuffer, metadata: FileMetaData) {
    this.path = path;
    this.#file = file;
    this.#buffer = buffer;
    this.metadata = metadata;
  }

  /**
   * Opens a file and reads its footer.
   *
   * @throws {LocalgradError} if it is not a regular file, not of Parquet, or truncated.
   */
  static async open(path: string): Promise<Table> {
    const info = await Deno.stat(path).catch((error) => {
      throw unreadable(path, error);
    });
    if (!info.isFile) throw new LocalgradError(`${shown(path)} is not a regular file`); // a named pipe would wait
    const file = await Deno.open(path).catch((error) => {
      throw unreadable(path, error);
    });
    try {
      const buffer = {
        byteLength: info.size,
        // What hyparquet has begun to read would fail unheard if the next read threw, instead of rejecting.
        slice: (start: number, end?: number) => Promise.try(read, file, start, end ?? info.size),
      };
      const metadata = await parquetMetadataAsync(buffer).catch((error) => {
        throw damaged(path, error);
      });
      expectChunks(path, metadata, info.size);
      return new Table(path, file, buffer, metadata);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** The names of the columns. */
  get columns(): string[] {
    const [root, ...elements] = this.metadata.schema;
    const names: string[] = [];
    let skipped = 0;
    for (const { name, num_children: children = 0 } of elements) {
      if (skipped === 0) names.push(name);
      else skipped--;
      skipped += children;
    }
    return names.slice(0, root?.num_children);
  }

  /** The bytes of a column when decompressed; refuses a compression that cannot be read. */
  bytesOf(column: string): number {
    let sum = 0;
    for (const { columns } of this.metadata.row_groups) {
      for (const { meta_data: chunk } of columns) {
        if (chunk === undefined || chunk.path_in_schema[0] !== column) continue;
        if (!READ.includes(chunk.codec)) {
          throw new LocalgradError(
            `${shown(this.path)}: column ${
              shown(column)
            } is compressed by ${chunk.codec}; write it without, or with one ` +
              `of ${READ.slice(1).join(", ")}`,
          );
        }
        sum += Number(chunk.total_uncompressed_size);
      }
    }
    return sum;
  }

  /** Rows with these columns, row group by row group, the unit of memory. Bytes are bytes, not text. */
  async *read(
    columns: string[],
  ): AsyncGenerator<{ readonly first: number; readonly rows: Record<string, unknown>[] }> {
    let first = 0;
    for (const { num_rows, columns: chunks } of this.metadata.row_groups) {
      const rowEnd = first + Number(num_rows);
      const file = { ...this.#buffer, slice: checked(this.#buffer.slice, chunksOf(chunks)) };
      const metadata = this.metadata;
      const rows = await parquetReadObjects({
        ...{ file, metadata, columns, compressors, rowStart: first, rowEnd },
        utf8: false, // by default bytes are decoded as text, and images broken
      }).catch((error) => {
        throw damaged(this.path, error);
      });
      if (rows.length !== Number(num_rows)) {
        throw damaged(this.path, new Error(`${rows.length} of ${num_rows} rows`));
      }
      yield { first, rows };
      first = rowEnd;
    }
  }

  /** The features that Hugging Face's `datasets` notes in the file, by column. */
  get features(): Readonly<Record<string, Feature>> {
    const noted = this.metadata.key_value_metadata?.find(({ key }) => key === "huggingface")?.value;
    if (noted === undefined) return {};
    try {
      return JSON.parse(noted)?.info?.features ?? {};
    } catch {
      return {}; // columns are then found by their types
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/**
 * Refuses a footer whose row groups hold other columns than its schema, or one twice, because hyparquet would fail unheard;
 * or more rows than the file has bytes.
 */
function expectChunks(path: string, { schema, row_groups: groups }: FileMetaData, size: number): void {
  const known = new Set(leavesOf(schema));
  for (const { columns, num_rows } of groups) {
    const most = columns.reduce((most, { meta_data: chunk }) => max(most, chunk?.num_values ?? 0n), num_rows);
    if (most > size) throw damaged(path, new Error(`${most} rows in ${size} bytes`));
    // The fields of a damaged footer may be missing, whatever their types say.
    const names = columns.map(({ meta_data: chunk }) => chunk?.path_in_schema?.join(".") ?? "");
    const odd = names.find((name, i) => !known.has(name) || names.indexOf(name) < i);
    if (odd === undefined) continue;
    throw damaged(
      path,
      new Error(`it has a column ${odd}${known.has(odd) ? " twice" : ", which its schema lacks"}`),
    );
  }
}

const max = (a: bigint, b: bigint) => a > b ? a : b;

type Chunks = FileMetaData["row_groups"][number]["columns"];

/** The parts of a file that hold the columns of a row group. */
function chunksOf(columns: Chunks): Chunk[] {
  return columns.flatMap(({ meta_data: chunk }) => {
    if (chunk === undefined) return [];
    const start = Number(chunk.dictionary_page_offset || chunk.data_page_offset);
    return [{
      start,
      end: start + Number(chunk.total_compressed_size),
      values: Number(chunk.num_values),
      bytes: Number(chunk.total_uncompressed_size),
    }];
  });
}

/** Reads parts of a file; rejects one that holds a damaged chunk. */
function checked(slice: AsyncBuffer["slice"], chunks: readonly Chunk[]): AsyncBuffer["slice"] {
  return async (start, end) => {
    const bytes = await slice(start, end);
    for (const chunk of chunks) {
      const [from, to] = [chunk.start - start, chunk.end - start];
      if (from < 0 || to > bytes.byteLength || to <= from) continue;
      const fault = pagesFault(new Uint8Array(bytes, from, to - from), chunk);
      if (fault !== undefined) throw new Error(fault);
    }
    return bytes;
  };
}

/** The paths of the columns of a schema, which lists a record before its fields. */
function leavesOf([root, ...elements]: FileMetaData["schema"]): string[] {
  const leaves: string[] = [];
  const open = [{ path: [] as string[], left: root?.num_children ?? 0 }];
  for (const { name, num_children: children = 0 } of elements) {
    while (open.at(-1)?.left === 0) open.pop();
    const parent = open.at(-1);
    if (parent === undefined) break;
    parent.left--;
    const path = [...parent.path, name];
    if (children > 0) open.push({ path, left: children });
    else leaves.push(path.join("."));
  }
  return leaves;
}

/** What `datasets` notes of a column. */
export interface Feature {
  /** Such as `Image` or `ClassLabel`. */
  readonly _type?: string;
  /** The names of classes. */
  readonly names?: readonly string[];
}

function damaged(path: string, error: unknown): unknown {
  if (error instanceof LocalgradError) return error;
  const why = (error instanceof Error ? error.message : String(error)).split("\n")[0];
  return new LocalgradError(
    `${shown(path)} is not a complete Parquet file (${shown(why ?? "")}); download it again`,
  );
}

/** Reads a part of a file. Synchronously, because reads of the columns run at once and share its position. */
function read(file: Deno.FsFile, start: number, end: number): ArrayBuffer {
  const bytes = new Uint8Array(end - start);
  file.seekSync(start, Deno.SeekMode.Start);
  let filled = 0;
  for (let count: number | null = 1; count !== null && filled < bytes.length; filled += count ?? 0) {
    count = file.readSync(bytes.subarray(filled));
  }
  if (filled < bytes.length) throw new Error(`it ends after ${start + filled} bytes`);
  return bytes.buffer;
}
