import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { LocalgradError } from "../base/errors.ts";

const CHUNK = 1 << 18;

/**
 * What a gzip file holds, piece by piece, as `gzip` and `tar` read it: all of its members (RFC 1952, section 2.2), and
 * zeros behind the last are passed over. `where` is what messages call it.
 *
 * @throws {LocalgradError} where it is truncated or damaged, or inflates to more than `most` bytes.
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
        throw new LocalgradError(`${where} inflates to more than the ${most} bytes that are published`);
      }
      yield chunk;
    }
  } catch (error) {
    if (error instanceof LocalgradError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new LocalgradError(`${where} is no whole gzip archive (${reason}); get it again`);
  } finally {
    source.destroy();
    inflater.destroy();
  }
}
