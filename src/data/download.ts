/** A download that broke off; kept apart from damage to what was downloaded. */
export class DownloadError extends Error {
  /** What was being downloaded. */
  readonly url: string;

  /** A download of `url` that ended with `cause`. */
  constructor(url: string, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause));
    this.url = url;
  }
}

/**
 * The bytes at `url` as they arrive; `onProgress` is told how many were received and, where the server says, of how
 * many.
 *
 * @throws {DownloadError} where the server cannot be reached or has no such file; the stream fails with one where the
 * connection breaks or ends early.
 */
export async function download(
  url: string,
  onProgress?: (received: number, total: number | undefined) => void,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const failed = (cause: unknown) => new DownloadError(url, cause);
  const response = await fetch(url).catch((error) => Promise.reject(failed(error)));
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw failed(`HTTP status ${response.status}`);
  }
  // Of a body that is decompressed on the way, the length says nothing.
  const plain = !response.headers.has("content-encoding");
  const length = plain ? Number(response.headers.get("content-length")) : 0;
  const total = length > 0 ? length : undefined;
  const chunks = response.body.getReader();
  let received = 0;
  return new ReadableStream({
    async pull(controller) {
      try {
        const { value, done } = await chunks.read();
        if (done) {
          if (total === undefined || received === total) return controller.close();
          throw new Error(`it ended after ${received} of ${total} bytes`);
        }
        received += value.length;
        onProgress?.(received, total);
        controller.enqueue(value);
      } catch (error) {
        controller.error(failed(error));
      }
    },
    cancel: (reason) => chunks.cancel(reason),
  });
}
