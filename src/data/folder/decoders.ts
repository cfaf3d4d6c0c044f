import { Worker } from "node:worker_threads";
import { LocalgradError } from "../../base/errors.ts";
import type { WholePicture } from "../decoder.ts";
import { shown } from "../regular.ts";
import workerSource from "./worker.js" with { type: "text" };

/** A part of a picture, and what it becomes: the upper left of an image. */
export interface Box {
  /** Rows and columns of the whole picture. */
  readonly of: readonly [height: number, width: number];
  readonly left: number;
  readonly top: number;
  readonly height: number;
  readonly width: number;
  /** Rows and columns to which it is resized. */
  readonly to: readonly [height: number, width: number];
  /** Is it mirrored afterwards? */
  readonly flip: boolean;
}

/** A job: decode an image to RGB pixels. */
export interface DecodeJob {
  /** Its file, or its name in messages if `bytes` are given. */
  readonly path: string;
  /** The content of the file. */
  readonly bytes?: Uint8Array;
  /** Rows and columns, one number if they are equal. */
  readonly size: number | readonly [height: number, width: number];
  /** The share of a picture that a centre crop shows; default 224 / 256. */
  readonly crop?: number;
  /** {@link DRAWS} random numbers in [0, 1) for a random resized crop and a flip; without them, a centre crop. */
  readonly draws?: Float32Array;
  /** The part of the picture that the image shows, in place of a crop. */
  readonly box?: Box;
  /** Show the whole picture, as large as fits into the upper left of the image? */
  readonly whole?: boolean;
  /** The colour of pixels beside the box or the whole picture; default black. */
  readonly fill?: readonly number[];
}

/** A job: check that a file can be decoded. */
export interface CheckJob {
  /** The file, or its name in messages if `bytes` are given. */
  readonly path: string;
  /** The content of the file. */
  readonly bytes?: Uint8Array;
  /** Decode the whole file, or only look at its first and last bytes where those suffice? */
  readonly check: "whole" | "ends";
}

/** Random numbers of a crop: ten attempts of area, proportions, top and left, then mirroring. */
export const DRAWS = 41;

/** Limits of size and time for decoding a picture. */
export interface DecodeLimits {
  /** Pixels on either side. */
  readonly side: number;
  /** Pixels in total. */
  readonly area: number;
  /** Bytes of a file, and of memory while it is decoded. */
  readonly memory: number;
  /** Seconds. */
  readonly seconds: number;
}

/** The limits of a folder's pictures. */
export const LIMITS: DecodeLimits = { side: 32_768, area: 100_000_000, memory: 2 ** 30, seconds: 10 };

/** What was decoded: pixels, and of a whole picture the rows and columns that it has, and has in the image. */
interface Decoded {
  readonly pixels?: Uint8Array;
  readonly of?: readonly [height: number, width: number];
  readonly to?: readonly [height: number, width: number];
}

/** The pixels of a picture, if they were asked for, or the reason why it cannot be decoded. */
type Outcome = Decoded | { readonly refusal: string };

type Answer = PromiseWithResolvers<Outcome>;

type Reply =
  | { readonly ready: true }
  | Decoded & { readonly id: number; readonly milliseconds: number }
  | { readonly id: number; readonly error: string; readonly broken: boolean };

interface Pending {
  readonly job: DecodeJob | CheckJob;
  readonly answer: Answer;
}

let live = 0;

/** Returns the number of live decoding threads, which Deno's test sanitizers do not see. */
export function liveDecoderCount(): number {
  return live;
}

/** Never called: tells Deno that the worker and its package belong to the library. */
export const inGraph = () => import("./worker.js");

let url: URL | undefined;

/**
 * The URL of the worker's source. Reading its file would need permission, and `node:worker_threads` does not start
 * `blob:` URLs; a `data:` URL of the whole source would appear in messages.
 */
function workerUrl(): URL {
  const blob = () => URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  return url ??= new URL(`data:text/javascript,import ${JSON.stringify(blob())};`);
}

/** A thread, which does its jobs in order. A job that takes too long or crashes it costs the thread, but no other job. */
class Thread {
  /** Pending jobs by number, in order. */
  readonly #jobs = new Map<number, Pending>();
  readonly #limits: DecodeLimits;
  readonly #decoded: (milliseconds: number) => void;
  #worker: Worker;
  #ready = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #fault: { readonly refusal: string } | undefined;
  readonly #ended: Promise<void>[] = [];

  constructor(limits: DecodeLimits, decoded: (milliseconds: number) => void) {
    this.#limits = limits;
    this.#decoded = decoded;
    this.#worker = this.#start();
  }

  /** Number of pending jobs. */
  get load(): number {
    return this.#jobs.size;
  }

  send(id: number, job: DecodeJob | CheckJob): Promise<Outcome> {
    if (this.#fault !== undefined) return Promise.resolve(this.#fault);
    const answer: Answer = Promise.withResolvers();
    this.#jobs.set(id, { job, answer });
    this.#worker.postMessage({ id, ...job });
    this.#hold();
    if (this.#ready && this.#jobs.size === 1) this.#watch();
    return answer.promise;
  }

  async end(): Promise<void> {
    this.#fail("decoding was stopped");
    this.#worker.terminate();
    await Promise.all(this.#ended);
  }

  /** Lets the process end while there is nothing to do, as a service does when it is stopped. */
  #hold(): void {
    if (this.#jobs.size > 0) this.#worker.ref();
    else this.#worker.unref();
  }

  #start(): Worker {
    // A separate environment needs no permission; see the threads of the CPU backend.
    const worker = new Worker(workerUrl(), { env: {}, workerData: this.#limits });
    worker.on("message", (reply: Reply) => {
      if (worker === this.#worker) this.#take(reply);
    });
    worker.on("error", (error: Error) => {
      if (worker === this.#worker) this.#fail(`images cannot be decoded: ${error.message.split("\n")[0]}`);
    });
    live++;
    const ended = Promise.withResolvers<void>();
    worker.once("exit", () => {
      live--;
      if (worker === this.#worker) this.#fail("decoding was stopped");
      ended.resolve();
    });
    this.#ended.push(ended.promise);
    return worker;
  }

  #take(reply: Reply): void {
    if ("ready" in reply) this.#ready = true;
    else {
      const answer = this.#jobs.get(reply.id)?.answer;
      this.#jobs.delete(reply.id);
      if ("error" in reply) {
        answer?.resolve({ refusal: shown(reply.error) });
        if (reply.broken) return this.#replace();
      } else {
        if (reply.pixels !== undefined) this.#decoded(reply.milliseconds);
        answer?.resolve(reply);
      }
    }
    this.#hold();
    this.#watch();
  }

  /** Starts the timer of the current job. */
  #watch(): void {
    clearTimeout(this.#timer);
    if (this.#jobs.size === 0) return;
    const { seconds } = this.#limits;
    // If the main thread was busy, the reply may be queued behind this timer until the thread has been idle for a while.
    const grace = 100 * seconds;
    const expire = () => {
      const due = performance.now() + grace;
      this.#timer = setTimeout(() => performance.now() > due + grace / 2 ? expire() : this.#giveUp(), grace);
    };
    this.#timer = setTimeout(expire, 1000 * seconds);
  }

  /** Rejects the current job. */
  #giveUp(): void {
    const [current] = this.#jobs;
    if (current === undefined) return;
    const [id, { job, answer }] = current;
    this.#jobs.delete(id);
    answer.resolve({
      refusal: `${shown(job.path)} takes more than ${this.#limits.seconds} s to decode; make it smaller`,
    });
    this.#replace();
  }

  /** Moves the jobs to a new worker. */
  #replace(): void {
    clearTimeout(this.#timer);
    this.#ready = false;
    const old = this.#worker;
    this.#worker = this.#start(); // before the old one's exit is reported
    old.terminate();
    for (const [id, { job }] of this.#jobs) this.#worker.postMessage({ id, ...job });
    this.#hold();
  }

  #fail(refusal: string): void {
    clearTimeout(this.#timer);
    this.#fault ??= { refusal };
    for (const { answer } of this.#jobs.values()) answer.resolve(this.#fault);
    this.#jobs.clear();
  }
}

/**
 * Threads that decode images with ImageMagick (WebAssembly). Jobs are sent to threads immediately, so decoding continues
 * while the main thread computes.
 */
export class Decoders implements AsyncDisposable {
  readonly #threads: readonly Thread[];
  #number = 0;
  #images = 0;
  #milliseconds = 0;

  /** Starts the threads. */
  constructor(threads: number, limits: DecodeLimits = LIMITS) {
    this.#threads = Array.from({ length: threads }, () =>
      new Thread(limits, (milliseconds) => {
        this.#images++;
        this.#milliseconds += milliseconds;
      }));
  }

  /** Images decoded so far, and the milliseconds they took with all threads busy. */
  get done(): { readonly images: number; readonly milliseconds: number } {
    return { images: this.#images, milliseconds: this.#milliseconds / this.#threads.length };
  }

  /** Decodes an image: bytes `[height, width, 3]`. */
  async decode(job: DecodeJob): Promise<Uint8Array> {
    const { pixels } = await this.#send(job);
    if (pixels === undefined) throw new Error("a decoding thread sent no pixels");
    return pixels;
  }

  /** Decodes a whole picture, as large as fits into the upper left of an image. */
  async whole(job: DecodeJob): Promise<WholePicture> {
    const { pixels, of, to } = await this.#send({ ...job, whole: true });
    if (pixels === undefined || of === undefined || to === undefined) {
      throw new Error("a decoding thread sent no pixels");
    }
    return { pixels, of, to };
  }

  /** Rejects a file that cannot be decoded. */
  async check(job: CheckJob): Promise<void> {
    await this.#send(job);
  }

  /** Terminates the threads; pending jobs are rejected. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.end()));
  }

  async #send(job: DecodeJob | CheckJob): Promise<Decoded> {
    const thread = this.#threads.reduce((least, each) => each.load < least.load ? each : least);
    const outcome = await thread.send(this.#number++, job);
    // Thrown here, not where the thread's message arrives, so that the stack names the caller.
    if ("refusal" in outcome) throw new LocalgradError(outcome.refusal);
    return outcome;
  }
}
