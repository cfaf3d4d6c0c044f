import type { Key } from "../../base/random.ts";
import type { ImageReader } from "../../data/images.ts";
import type { BatchRequest, SuppliedBatch } from "./feed.ts";

/** What makes batches on the host, several at a time if asked to. */
interface Reader<T> extends Pick<ImageReader, "ahead"> {
  read(indices: Uint32Array, key?: Key): Promise<T>;
}

/** A batch that a reader is making. */
interface Requested<T> {
  readonly request: BatchRequest;
  readonly made: Promise<T>;
}

/** Supplies batches that a reader makes, in order; it always works a few batches ahead. */
export async function* readAhead<T>(
  requests: Iterable<BatchRequest>,
  reader: Reader<T>,
  dataOf: (made: T, indices: Uint32Array) => SuppliedBatch["data"],
): AsyncGenerator<SuppliedBatch, undefined, void> {
  const requested: Requested<T>[] = [];
  for (const request of requests) {
    const made = reader.read(request.indices, request.key);
    made.catch(() => {}); // thrown when the batch is supplied, if it ever is
    requested.push({ request, made });
    const ahead = Math.max(2, Math.ceil((reader.ahead ?? 0) / request.indices.length));
    const next = requested.length > ahead ? requested.shift() : undefined;
    if (next !== undefined) yield await supplied(next);
  }
  for (const next of requested) yield await supplied(next);
  return undefined;

  async function supplied({ request, made }: Requested<T>): Promise<SuppliedBatch> {
    return { ...request, data: dataOf(await made, request.indices) };
  }
}
