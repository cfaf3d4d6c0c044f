import { Worker } from "node:worker_threads";
import type { LinearMemory } from "./memory.ts";
import { openPrimitives, type Primitives, type PrimitivesSetup } from "./onednn/primitives.ts";
import { threadScratch } from "./thread_count.ts";
import workerSource from "./worker.js" with { type: "text" };

/**
 * Words of the control block at the start of the memory (as i32 indices). Each word that several threads write has its
 * own cache line. A ticket takes two words: the tasks left of a part of a step in the low one, the step in the high one.
 */
export const words = {
  parts: 16,
  done: 32,
  sleepers: 48,
  gate: 64,
  inside: 80,
  acknowledged: 96,
  failed: 112,
  command: 128,
  module: 129,
  steps: 130,
  stepCount: 131,
  scratch: 132,
  scratchBytes: 133,
  code: 134,
  codeBytes: 135,
  primitives: 136,
  primitivesBytes: 137,
  failureBytes: 138,
  failure: 139,
  tickets: 256,
} as const;

/** The most parts of a step: with more threads, several share a part. */
const MOST_PARTS = 16;
/** Words from a ticket to the next: a cache line. */
const TICKET_WORDS = 16;
/** The words of the control block. */
const CONTROL_WORDS = words.tickets + MOST_PARTS * TICKET_WORDS;

/** The commands to the workers. */
const commands = { run: 1, load: 2, unload: 3, exit: 4 } as const;

/** Values of the word `failed`: a thread that fails first writes why. */
const states = { sound: 0, failed: 1, failing: 2 } as const;

/** Milliseconds that an idle worker spins before it sleeps. */
const SPIN_MILLISECONDS = 1;

/** The entry of a plan's module: runs tasks until the plan is finished; see plan_module.ts. */
export type Work = (steps: number, stepCount: number, scratch: number, thread: number) => void;

let liveWorkers = 0;

/** The number of running worker threads in this process. Deno's test sanitizers do not see them. */
export function liveWorkerCount(): number {
  return liveWorkers;
}

/** Thrown if the threads of a device cannot use oneDNN. */
export class StartFailure extends Error {
  /** `ended` resolves when no thread uses the library or the memory any more. */
  constructor(message: string, readonly ended: Promise<void>) {
    super(message);
  }
}

/** A plan's module, instantiated in the main thread. */
export interface LoadedModule {
  readonly id: number;
  readonly work: Work;
}

/**
 * The main thread and its workers. Workers only help: the main thread waits for tasks that have begun, never for a
 * worker to arrive, so a worker that wakes late costs nothing but its help.
 */
export class ThreadPool {
  readonly #memory: LinearMemory;
  readonly #control: Int32Array;
  readonly #workers: readonly Worker[];
  readonly #exits: readonly Promise<void>[];
  /** The main thread's, if oneDNN is in use. */
  readonly #primitives: Primitives | undefined;
  #modules = 0;
  #scratch = 0;
  #scratchBytes = 0;

  private constructor(
    memory: LinearMemory,
    threads: number,
    onednn: PrimitivesSetup | undefined,
    primitives: Primitives | undefined,
  ) {
    this.#memory = memory;
    this.#primitives = primitives;
    this.#control = new Int32Array(memory.memory.buffer, 0, CONTROL_WORDS);
    this.#control[words.parts] = Math.min(threads, MOST_PARTS);
    // A data: URL needs no permission, and starts even while the main thread blocks.
    const source = `${openPrimitives}\n${workerSource}`;
    const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
    const workerData = {
      memory: memory.memory,
      words,
      controlWords: CONTROL_WORDS,
      commands,
      states,
      spinMilliseconds: SPIN_MILLISECONDS,
      onednn,
    };
    this.#workers = Array.from(
      { length: threads - 1 },
      // An empty environment: by default the parent's is read, for which Deno asks for permission.
      (_, i) => new Worker(url, { env: {}, workerData: { ...workerData, thread: i + 1 } }),
    );
    this.#exits = this.#workers.map((worker) => {
      liveWorkers++;
      return new Promise((resolve) =>
        worker.once("exit", () => {
          liveWorkers--;
          resolve();
        })
      );
    });
    // A program that does not close its device still ends.
    for (const worker of this.#workers) worker.unref();
  }

  /**
   * Starts `threads` − 1 workers and waits until all of them run. With `onednn` they execute its primitives.
   *
   * @throws {StartFailure} if a thread cannot use oneDNN.
   */
  static start(memory: LinearMemory, threads: number, onednn?: PrimitivesSetup): ThreadPool {
    let primitives: Primitives | undefined;
    try {
      if (onednn !== undefined) primitives = openPrimitives(onednn);
    } catch (error) {
      throw new StartFailure(error instanceof Error ? error.message : String(error), Promise.resolve());
    }
    const pool = new ThreadPool(memory, threads, onednn, primitives);
    pool.#await(words.acknowledged, (arrived) => arrived === threads - 1);
    const failure = pool.#failure();
    if (failure !== undefined) throw new StartFailure(`in a worker thread, ${failure}`, pool.close());
    return pool;
  }

  /** The number of threads, including the main one. */
  get threads(): number {
    return this.#workers.length + 1;
  }

  #await(word: number, reached: (value: number) => boolean): void {
    for (let spin = 0;; spin++) {
      const value = Atomics.load(this.#control, word);
      if (reached(value)) return;
      if (spin > 1000) Atomics.wait(this.#control, word, value, 1);
    }
  }

  /** Opens the gate for a command, runs the main thread's part and closes the gate. */
  #command(command: number, module: number, main: () => void): void {
    this.#control[words.command] = command;
    this.#control[words.module] = module;
    Atomics.store(this.#control, words.acknowledged, 0);
    Atomics.add(this.#control, words.gate, 1);
    Atomics.notify(this.#control, words.gate);
    try {
      main();
    } catch (error) {
      Atomics.store(this.#control, words.failed, states.failed);
      throw error;
    } finally {
      Atomics.add(this.#control, words.gate, 1);
      this.#await(words.inside, (inside) => inside === 0);
    }
  }

  #broadcast(command: number, module: number): void {
    this.#command(
      command,
      module,
      () => this.#await(words.acknowledged, (count) => count === this.#workers.length),
    );
  }

  /**
   * Instantiates a module in every thread, after telling it of the primitives that the module executes, as
   * `primitivesText` gives them. V8 compiles equal bytes once per process.
   */
  load(code: Uint8Array<ArrayBuffer>, primitives: string): LoadedModule {
    const id = ++this.#modules;
    const module = new WebAssembly.Module(code);
    this.#primitives?.add(primitives);
    const execute = this.#primitives?.execute;
    const instance = new WebAssembly.Instance(module, {
      env: { memory: this.#memory.memory, ...(execute === undefined ? {} : { execute }) },
    });
    if (this.#workers.length > 0) {
      const text = new TextEncoder().encode(primitives);
      const bytes = code.length + text.length;
      const address = this.#memory.allocate(bytes, "a program's code");
      this.#memory.bytes.set(code, address);
      this.#memory.bytes.set(text, address + code.length);
      this.#control[words.code] = address;
      this.#control[words.codeBytes] = code.length;
      this.#control[words.primitives] = address + code.length;
      this.#control[words.primitivesBytes] = text.length;
      try {
        this.#broadcast(commands.load, id);
      } finally {
        this.#memory.free(address, bytes);
      }
      this.#checkFailure();
    }
    return { id, work: instance.exports["work"] as Work };
  }

  /** Drops a module in every thread. */
  unload(module: LoadedModule): void {
    if (this.#workers.length > 0) this.#broadcast(commands.unload, module.id);
  }

  /** Bytes of scratch memory of all threads. */
  get scratchBytes(): number {
    return this.#scratchBytes * this.threads;
  }

  /** Ensures that each thread has at least `bytes` of scratch memory. */
  reserveScratch(bytes: number): void {
    if (bytes <= this.#scratchBytes) return;
    const size = threadScratch(bytes);
    const { threads } = this;
    const what = "the threads' scratch memory";
    this.#scratch = this.#memory.exchange(this.#scratch, this.scratchBytes, size * threads, what);
    this.#scratchBytes = size;
    this.#control[words.scratch] = this.#scratch;
    this.#control[words.scratchBytes] = size;
  }

  /**
   * Runs a plan whose launch records are at `steps`. `firstTasks` is the number of tasks of the first launch; `alone`
   * keeps the workers out, for plans too small to gain from them.
   */
  run(module: LoadedModule, steps: number, stepCount: number, firstTasks: number, alone: boolean): void {
    this.#checkFailure();
    this.#control[words.steps] = steps;
    this.#control[words.stepCount] = stepCount;
    this.#control[words.done] = 0;
    const parts = this.#control[words.parts];
    const firstOf = (part: number) => Math.ceil(part * firstTasks / parts);
    for (let part = 0; part < parts; part++) {
      const ticket = words.tickets + part * TICKET_WORDS;
      Atomics.store(this.#control, ticket, 0x80000000 - (firstOf(part + 1) - firstOf(part)));
      Atomics.store(this.#control, ticket + 1, 0);
    }
    const main = () => module.work(steps, stepCount, this.#scratch, 0);
    if (alone || this.#workers.length === 0) main();
    else this.#command(commands.run, module.id, main);
    this.#checkFailure();
  }

  /** What the first thread that failed said; undefined if none has. */
  #failure(): string | undefined {
    if (Atomics.load(this.#control, words.failed) === states.sound) return undefined;
    this.#await(words.failed, (state) => state !== states.failing);
    const from = words.failure * 4;
    return new TextDecoder().decode(
      this.#memory.bytes.slice(from, from + this.#control[words.failureBytes]),
    );
  }

  #checkFailure(): void {
    const failure = this.#failure();
    if (failure === undefined) return;
    const why = failure === "" ? "" : ` (${failure})`;
    throw new Error(`a thread of the CPU backend failed${why}; its results are not valid`);
  }

  /** Ends the workers. When this resolves, none of them uses the memory any more. */
  async close(): Promise<void> {
    if (this.#workers.length > 0) this.#broadcast(commands.exit, 0);
    for (const worker of this.#workers) worker.ref();
    await Promise.all(this.#exits);
    this.#primitives?.close();
    if (this.#scratchBytes > 0) this.#memory.free(this.#scratch, this.scratchBytes);
    this.#scratchBytes = 0;
  }
}
