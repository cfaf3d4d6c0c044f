import { createHash } from "node:crypto";
import { LocalgradError } from "../base/errors.ts";
import { writeAll } from "../base/files.ts";
import { refusal } from "../base/system.ts";

/** A published file; the download must match its length and MD5. */
export interface Download {
  /** Its URL. */
  readonly url: string;
  /** Its length in bytes. */
  readonly bytes?: number;
  /** Its MD5 in hexadecimal. */
  readonly md5?: string;
}

/** Options of {@link download}. */
export interface DownloadOptions {
  /** Milliseconds without data after which the download fails; 60,000 by default. */
  readonly patience?: number;
  /** Called with the bytes received so far and the total, where the total is known. */
  readonly onProgress?: (received: number, total: number | undefined) => void;
}

const PATIENCE = 60_000;

/**
 * Streams a file to `path`, checking its length and MD5. If the download fails, the part received so far remains for the
 * caller to remove.
 *
 * @throws {LocalgradError} if the server cannot be reached, does not have the file or stalls, the connection breaks or
 * ends early, the file is not the published one, or `path` cannot be written.
 */
export async function download(
  { url, bytes, md5 }: Download,
  path: string,
  { patience = PATIENCE, onProgress }: DownloadOptions = {},
): Promise<void> {
  const silence = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(new Error(`no data for ${patience / 1000} s`)), patience);
  };
  wait();
  try {
    // A body compressed in transit would have another length.
    const headers = { "accept-encoding": "identity" };
    const response = await fetch(url, { headers, signal: silence.signal }).catch((error) => {
      throw failed(url, error);
    });
    const total = await expectLength(response, url, bytes);
    const sum = createHash("md5");
    let received = 0;
    const unwritable = (error: unknown): never => {
      throw refusal(error, `${path} cannot be written`);
    };
    using file = await Deno.open(path, { write: true, createNew: true }).catch(unwritable);
    for await (const chunk of arriving(response, url)) {
      wait();
      received += chunk.length;
      if (total !== undefined && received > total) throw failed(url, `it is longer than ${total} bytes`);
      sum.update(chunk);
      await writeAll(file, chunk).catch(unwritable);
      onProgress?.(received, total);
    }
    if (total !== undefined && received < total) {
      throw failed(url, `it ended after ${received} of ${total} bytes`);
    }
    if (md5 !== undefined && sum.digest("hex") !== md5) {
      throw new LocalgradError(`${url} is damaged: its MD5 is not the published ${md5}`);
    }
  } finally {
    clearTimeout(timer);
  }
}

function failed(url: string, cause: unknown): LocalgradError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new LocalgradError(
    `${url} could not be downloaded (${why}); download it by other means and give its path`,
  );
}

/** Returns the length of the body, where it is known; rejects a response that is not the published file. */
async function expectLength(
  { ok, status, headers, body }: Response,
  url: string,
  published: number | undefined,
): Promise<number | undefined> {
  // The content-length of a compressed body is not the length received.
  const said = headers.has("content-encoding") ? undefined : headers.get("content-length") ?? undefined;
  const wrong = !ok
    ? `HTTP status ${status}`
    : said !== undefined && published !== undefined && Number(said) !== published
    ? `it has ${said} bytes instead of the published ${published}`
    : undefined;
  if (wrong !== undefined) {
    await body?.cancel();
    throw failed(url, wrong);
  }
  return published ?? (said === undefined ? undefined : Number(said));
}

async function* arriving({ body }: Response, url: string): AsyncGenerator<Uint8Array> {
  try {
    if (body !== null) yield* body;
  } catch (error) {
    throw failed(url, error);
  }
}
