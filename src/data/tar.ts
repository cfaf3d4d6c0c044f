import { LocalgradError } from "../base/errors.ts";

/** A regular file in a tar archive. */
export interface TarFile {
  /** Its path in the archive. */
  readonly path: string;
  /** Its content. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const BLOCK = 512;
const SKIP = 1 << 20;

/** Reads exact numbers of bytes from chunks of any size. */
class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Reads the next `count` bytes, or fewer if the stream ends. */
  async take(count: number): Promise<Uint8Array<ArrayBuffer>> {
    const result = new Uint8Array(count);
    let filled = 0;
    while (filled < count) {
      if (this.#rest.length === 0) {
        const { value, done } = await this.#chunks.next();
        if (done) return result.slice(0, filled);
        this.#rest = value;
      }
      const part = this.#rest.subarray(0, count - filled);
      result.set(part, filled);
      filled += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return result;
  }

  /** Skips the next `count` bytes, which may not fit in memory; returns false if the stream ends first. */
  async skip(count: number): Promise<boolean> {
    while (count > 0) {
      const part = await this.take(Math.min(count, SKIP));
      if (part.length < Math.min(count, SKIP)) return false;
      count -= part.length;
    }
    return true;
  }

  /** Reads to the end, so that the checksum there is verified. */
  async drain(): Promise<void> {
    while (!(await this.#chunks.next()).done);
  }

  /** Abandons the rest of the stream. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}

function text(block: Uint8Array, start: number, length: number): string {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

/** Parses an octal number field; NaN if it is not one. */
function octal(block: Uint8Array, start: number, length: number): number {
  const digits = text(block, start, length).trim();
  return /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : NaN;
}

/** The sum of a header's bytes, with the checksum field itself read as spaces (POSIX.1-1988, ustar). */
function checksum(block: Uint8Array): number {
  return block.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 32 : byte), 0);
}

/**
 * Yields the wanted regular files of a tar archive (ustar or older) in order; skips other files, links, folders and
 * extended headers.
 *
 * @param chunks The archive.
 * @param name Its name in messages.
 * @param wanted Decides by a file's path and size, before it is read; may throw.
 * @throws {LocalgradError} if the archive is damaged or truncated.
 */
export async function* readTar(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  wanted: (path: string, size: number) => boolean = () => true,
): AsyncGenerator<TarFile> {
  const reader = new ByteReader(chunks);
  const truncated = () =>
    new LocalgradError(`${name} is truncated: it ends in the middle of a file; download it again`);
  const take = async (count: number) => {
    const bytes = await reader.take(count);
    if (bytes.length < count) throw truncated();
    return bytes;
  };
  try {
    while (true) {
      const header = await take(BLOCK);
      if (header.every((byte) => byte === 0)) return await reader.drain(); // the end-of-archive marker
      const size = octal(header, 124, 12);
      if (Number.isNaN(size) || octal(header, 148, 8) !== checksum(header)) {
        throw new LocalgradError(`${name} is damaged or not a tar archive: a header's checksum is wrong`);
      }
      const padding = (BLOCK - size % BLOCK) % BLOCK;
      const type = header[156];
      const prefix = text(header, 257, 5) === "ustar" ? text(header, 345, 155) : "";
      const path = (prefix ? `${prefix}/` : "") + text(header, 0, 100);
      if ((type !== 0 && type !== 0x30) || !wanted(path, size)) {
        if (!await reader.skip(size + padding)) throw truncated();
        continue;
      }
      const bytes = await take(size);
      await take(padding);
      yield { path, bytes };
    }
  } finally {
    await reader.close();
  }
}
