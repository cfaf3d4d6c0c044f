/**
 * Execution of oneDNN's primitives by one thread.
 *
 * @module
 */

/** The data that a thread needs to execute primitives, plain because it is sent to other threads. */
export interface PrimitivesSetup {
  /** The library's file. */
  readonly path: string;
  /** The functions to open, as FFI declares them. */
  readonly symbols: Deno.ForeignLibraryInterface;
  /** The engine that primitives and memories belong to. */
  readonly engine: bigint;
  /** The address of the shared memory's first byte. */
  readonly base: number;
}

/** A primitive as the threads know it. */
export interface Primitive {
  /** Its number on the device. */
  readonly id: number;
  /** The primitive, and its arguments: `DNNL_ARG_…`, the memory's descriptor, and which of four addresses it is at. */
  readonly handle: bigint;
  readonly parts: readonly (readonly [argument: number, descriptor: bigint, address: number])[];
}

/** The primitives of one thread. */
export interface Primitives {
  /** Makes primitives known, given as JSON: handles are decimal strings. */
  add(json: string): void;
  /** Executes a primitive on up to four addresses in the shared memory. */
  execute(id: number, a: number, b: number, c: number, scratch: number): void;
  /** Frees what the thread has made. */
  close(): void;
}

/** Primitives as JSON, for {@link Primitives.add}. */
export function primitivesText(primitives: readonly Primitive[]): string {
  return JSON.stringify(primitives, (_, value) => typeof value === "bigint" ? String(value) : value);
}

/**
 * Opens the library for the calling thread, for which OpenMP has one thread from then on: the tasks of a launch are
 * shared by our own threads. The text of this function is what the workers run, so it refers to nothing outside it.
 */
export function openPrimitives({ path, symbols, engine, base }: PrimitivesSetup): Primitives {
  const library = Deno.dlopen(path, symbols);
  const dnnl = library.symbols as Readonly<Record<string, (...operands: unknown[]) => unknown>>;
  const check = (status: unknown, doing: string): void => {
    if (status !== 0) throw new Error(`oneDNN: ${doing} failed with status ${status}`);
  };
  dnnl["omp_set_num_threads"]?.(1);
  const result = new BigUint64Array(1);
  const made = (status: unknown, doing: string): bigint => {
    check(status, doing);
    return result[0] ?? 0n;
  };
  const stream = made(dnnl["dnnl_stream_create"]?.(result, engine, 1), "making a stream");
  interface Known {
    readonly handle: bigint;
    readonly memories: readonly bigint[];
    readonly addresses: readonly number[];
    readonly list: Uint8Array;
  }
  const known = new Map<number, Known>();
  return {
    add(json) {
      const primitives: { id: number; handle: string; parts: [number, string, number][] }[] = JSON.parse(
        json,
      );
      for (const { id, handle, parts } of primitives) {
        if (known.has(id)) continue;
        // dnnl_exec_arg_t: an int, then a memory, in 16 bytes.
        const list = new Uint8Array(parts.length * 16), view = new DataView(list.buffer);
        const memories = parts.map(([argument, descriptor], i) => {
          const status = dnnl["dnnl_memory_create"]?.(result, BigInt(descriptor), engine, 0n);
          const memory = made(status, "describing memory");
          view.setInt32(i * 16, argument, true);
          view.setBigUint64(i * 16 + 8, memory, true);
          return memory;
        });
        const addresses = parts.map(([, , address]) => address);
        known.set(id, { handle: BigInt(handle), memories, addresses, list });
      }
    },
    execute(id, a, b, c, scratch) {
      const primitive = known.get(id);
      if (primitive === undefined) throw new Error(`primitive ${id} is not known to this thread`);
      const { handle, memories, addresses, list } = primitive;
      for (let i = 0; i < memories.length; i++) {
        const which = addresses[i];
        const offset = which === 0 ? a : which === 1 ? b : which === 2 ? c : scratch;
        dnnl["dnnl_memory_set_data_handle"]?.(memories[i], base + (offset >>> 0));
      }
      check(dnnl["dnnl_primitive_execute"]?.(handle, stream, memories.length, list), "executing a primitive");
    },
    close() {
      for (const { memories } of known.values()) {
        for (const memory of memories) dnnl["dnnl_memory_destroy"]?.(memory);
      }
      known.clear();
      dnnl["dnnl_stream_destroy"]?.(stream);
      library.close();
    },
  };
}
