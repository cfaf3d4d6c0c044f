import { createHash } from "node:crypto";
import { LocalgradError } from "../base/errors.ts";
import { writeAll } from "../base/files.ts";
import { refusal } from "../base/system.ts";

/** What is published about a file: what is downloaded must be that. */
export interface Download {
  /** Where it is published. */
  readonly url: string;
  /** Its length. */
  readonly bytes?: number;
  /** Its MD5 in hexadecimal. */
  readonly md5?: string;
}

/** How a download goes on. */
export interface DownloadOptions {
  /** Milliseconds without data after which it is given up; a minute by default. */
  readonly patience?: number;
  /** Called with the bytes received and, where that is known, of how many. */
  readonly onProgress?: (received: number, total: number | undefined) => void;
}

const PATIENCE = 60_000;

/**
 * Downloads a file to `path`, piece by piece, and checks its length and its sum on the way. Where it fails, what came so
 * far stays for the caller to remove.
 *
 * @throws {LocalgradError} where the server cannot be reached, has no such file or falls silent, the connection breaks
 * or ends early, what comes is not what is published, or `path` cannot be written.
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
    timer = setTimeout(() => silence.abort(new Error(`nothing came for ${patience / 1000} s`)), patience);
  };
  wait();
  try {
    // A body that is compressed once more on the way would have another length.
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
      if (total !== undefined && received > total) throw failed(url, `it goes on after ${total} bytes`);
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
    `${url} could not be downloaded (${why}); get it by other means and give its path`,
  );
}

/** The length of what follows, where it is known; refuses an answer that is not the published file. */
async function expectLength(
  { ok, status, headers, body }: Response,
  url: string,
  published: number | undefined,
): Promise<number | undefined> {
  // Of a body that is decompressed on the way, the length says nothing.
  const said = headers.has("content-encoding") ? undefined : headers.get("content-length") ?? undefined;
  const wrong = !ok
    ? `HTTP status ${status}`
    : said !== undefined && published !== undefined && Number(said) !== published
    ? `it has ${said} bytes there, and ${published} are published`
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
