import { LocalgradError } from "../base/errors.ts";
import { refusal } from "../base/system.ts";

/** Escapes control characters, which names of files and arrays may contain, for the terminal. */
export function shown(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, (control) => {
    return `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Information about `path`, following links; undefined if nothing is there. */
export async function stat(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw unreadable(path, error);
  }
}

/** The error to throw for a file or folder that could not be read. */
export function unreadable(path: string, error: unknown): unknown {
  return refusal(error, `${shown(path)} cannot be read`);
}

/**
 * Returns the length of a regular file. Anything else is refused before it is opened: opening a named pipe waits for a
 * writer, and a device may be endless.
 *
 * @throws {LocalgradError} if it is not a regular file, is empty, or is longer than `most` bytes.
 */
async function regularSize(path: string, most = Infinity): Promise<number> {
  const info = await stat(path);
  if (info === undefined) throw new LocalgradError(`${path} does not exist`);
  const { isFile, size } = info;
  if (!isFile) throw new LocalgradError(`${path} is not a regular file`);
  expectSize(path, size, most);
  return size;
}

/** Rejects a file that is empty or longer than the published one. */
export function expectSize(where: string, size: number, most: number): void {
  if (size === 0) throw new LocalgradError(`${where} is empty; download it again`);
  if (size <= most) return;
  throw new LocalgradError(`${where} is too long: ${size} bytes, but the published file has at most ${most}`);
}

/** Reads a regular file of at most `most` bytes. */
export async function readRegular(path: string, most: number): Promise<Uint8Array<ArrayBuffer>> {
  await regularSize(path, most);
  return await Deno.readFile(path).catch((error) => {
    throw unreadable(path, error);
  });
}

const CHUNK = 1 << 18;

/** Reads a regular file in chunks. */
export async function* chunksOf(path: string): AsyncGenerator<Uint8Array> {
  await regularSize(path);
  using file = await Deno.open(path).catch((error) => {
    throw unreadable(path, error);
  });
  while (true) {
    const chunk = new Uint8Array(CHUNK);
    let count: number | null;
    try {
      count = file.readSync(chunk); // synchronous, so that no read is in flight when the consumer stops early
    } catch (error) {
      throw unreadable(path, error);
    }
    if (count === null) return;
    yield chunk.subarray(0, count);
  }
}
