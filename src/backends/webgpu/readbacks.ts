import { BufferUsage, MapMode } from "./flags.ts";
import { type Gpu, wordsOf } from "./gpu.ts";

interface Request {
  readonly source: GPUBuffer;
  readonly bytes: number;
  readonly resolve: (data: Uint8Array<ArrayBuffer>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Copies buffers to the host. Mapping takes Deno about 11 ms, however little is mapped; so all reads requested in one
 * turn of the event loop share one staging buffer, one submission and one mapping. Batches overlap.
 */
export class Readbacks {
  readonly #gpu: Gpu;
  #pending: Request[] = [];
  readonly #batches = new Set<Promise<void>>();

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** Reads the first `bytes` bytes of a buffer, as they are at this point of the queue. */
  read(source: GPUBuffer, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ source, bytes, resolve, reject });
      if (this.#pending.length === 1) queueMicrotask(() => this.flush());
    });
  }

  /** Submits the requested copies. Call it before anything that could change or free their sources. */
  flush(): void {
    if (this.#pending.length === 0) return;
    const requests = this.#pending;
    this.#pending = [];
    const batch = this.#copy(requests).catch((error) => requests.forEach(({ reject }) => reject(error)))
      .finally(() => this.#batches.delete(batch));
    this.#batches.add(batch);
  }

  /** Waits for the batches in flight. */
  async idle(): Promise<void> {
    await Promise.all(this.#batches);
  }

  async #copy(requests: readonly Request[]): Promise<void> {
    const { device } = this.#gpu;
    const padded = (bytes: number) => wordsOf(bytes) * 4;
    const total = requests.reduce((sum, { bytes }) => sum + padded(bytes), 0);
    const staging = this.#gpu.create(total, BufferUsage.MAP_READ | BufferUsage.COPY_DST);
    try {
      const encoder = device.createCommandEncoder();
      let offset = 0;
      for (const { source, bytes } of requests) {
        if (bytes > 0) encoder.copyBufferToBuffer(source, 0, staging, offset, padded(bytes));
        offset += padded(bytes);
      }
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(MapMode.READ);
      this.#gpu.check();
      const mapped = new Uint8Array(staging.getMappedRange());
      offset = 0;
      for (const { bytes, resolve } of requests) {
        resolve(mapped.slice(offset, offset + bytes));
        offset += padded(bytes);
      }
    } finally {
      this.#gpu.destroy(staging);
    }
  }
}
