import { Worker } from "node:worker_threads";
import { LocalgradError } from "../../errors.ts";
import workerSource from "./worker.js" with { type: "text" };

/** An image to be decoded to `size` × `size` RGB pixels. */
export interface DecodeJob {
  /** Its file. */
  readonly path: string;
  /** Rows and columns. */
  readonly size: number;
  /** {@link DRAWS} random numbers in [0, 1) for a random resized crop and a flip; without them, the centre. */
  readonly draws?: Float32Array;
}

/** A file to be checked: all of it, or its first and last bytes, where those tell. */
export interface CheckJob {
  /** The file. */
  readonly path: string;
  /** How much of it. */
  readonly check: "whole" | "ends";
}

/** Random numbers of a crop: ten tries of area, proportions, top and left, then whether to mirror. */
export const DRAWS = 41;

type Reply =
  & { readonly id: number }
  & (
    | { readonly pixels?: Uint8Array; readonly milliseconds: number; readonly error?: undefined }
    | { readonly error: string }
  );

interface Thread {
  readonly worker: Worker;
  readonly ended: Promise<void>;
  /** Jobs that it was sent and has not answered, by number. */
  readonly jobs: Map<number, PromiseWithResolvers<Uint8Array | undefined>>;
}

let live = 0;

/** Decoding threads of this process that have not ended. Deno's test sanitizers do not see them. */
export function liveDecoderCount(): number {
  return live;
}

/**
 * Threads that decode images with ImageMagick (WebAssembly). A job is sent to its thread at once, so that decoding goes
 * on while the main thread computes.
 */
export class Decoders implements AsyncDisposable {
  readonly #threads: readonly Thread[];
  /** Why nothing can be decoded any more. */
  #fault: LocalgradError | undefined;
  #number = 0;
  #images = 0;
  #milliseconds = 0;

  /** Starts the threads. */
  constructor(threads: number) {
    this.#threads = Array.from({ length: threads }, () => this.#start());
  }

  /** Images decoded, and the milliseconds that took with all threads at work. */
  get done(): { readonly images: number; readonly milliseconds: number } {
    return { images: this.#images, milliseconds: this.#milliseconds / this.#threads.length };
  }

  /** Decodes an image: bytes `[size, size, 3]`. */
  async decode(job: DecodeJob): Promise<Uint8Array> {
    return (await this.#send(job))!;
  }

  /** Refuses a file that cannot be decoded. */
  async check(job: CheckJob): Promise<void> {
    await this.#send(job);
  }

  /** Ends the threads, whatever they are at; what was asked for and is not there yet is rejected. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { worker } of this.#threads) worker.terminate();
    await Promise.all(this.#threads.map(({ ended }) => ended));
  }

  #send(job: DecodeJob | CheckJob): Promise<Uint8Array | undefined> {
    if (this.#fault !== undefined) return Promise.reject(this.#fault);
    const thread = this.#threads.reduce((least, each) => each.jobs.size < least.jobs.size ? each : least);
    const id = this.#number++;
    const answer = Promise.withResolvers<Uint8Array | undefined>();
    thread.jobs.set(id, answer);
    thread.worker.postMessage({ id, ...job });
    return answer.promise;
  }

  #start(): Thread {
    // A data: URL and an environment of its own need no permission; see the CPU backend's threads.
    const url = new URL(`data:text/javascript,${encodeURIComponent(workerSource)}`);
    const worker = new Worker(url, { env: {} });
    const jobs: Thread["jobs"] = new Map();
    const fail = (message: string) => {
      this.#fault ??= new LocalgradError(message);
      for (const answer of jobs.values()) answer.reject(this.#fault);
      jobs.clear();
    };
    worker.on("message", (reply: Reply) => {
      const answer = jobs.get(reply.id);
      jobs.delete(reply.id);
      if (reply.error !== undefined) return answer?.reject(new LocalgradError(reply.error));
      if (reply.pixels !== undefined) this.#images++;
      if (reply.pixels !== undefined) this.#milliseconds += reply.milliseconds;
      answer?.resolve(reply.pixels);
    });
    worker.on("error", (error: Error) => fail(`images cannot be decoded: ${error.message.split("\n")[0]}`));
    live++;
    const ended = new Promise<void>((resolve) =>
      worker.once("exit", () => {
        live--;
        fail("decoding was given up");
        resolve();
      })
    );
    return { worker, ended, jobs };
  }
}
