import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { LocalgradError } from "../base/errors.ts";

const CHUNK = 1 << 18;

/**
 * Decompresses a gzip file as `gzip` and `tar` do: all of its members (RFC 1952, section 2.2), ignoring zeros after the
 * last one. `where` names the file in messages.
 *
 * @throws {LocalgradError} if it is truncated or damaged, or decompresses to more than `most` bytes.
 */
export async function* gunzip(
  chunks: AsyncIterable<Uint8Array>,
  where: string,
  most: number,
): AsyncGenerator<Uint8Array> {
  const source = Readable.from(chunks);
  const inflater = createGunzip({ chunkSize: CHUNK });
  source.on("error", (error: Error) => inflater.destroy(error));
  source.pipe(inflater);
  let inflated = 0;
  try {
    for await (const chunk of inflater) {
      inflated += chunk.length;
      if (inflated > most) {
        throw new LocalgradError(`${where} decompresses to more than the published ${most} bytes`);
      }
      yield chunk;
    }
  } catch (error) {
    if (error instanceof LocalgradError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new LocalgradError(`${where} is not a complete gzip file (${reason}); download it again`);
  } finally {
    source.destroy();
    inflater.destroy();
  }
}
