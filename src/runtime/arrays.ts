import type { Backend, DeviceBuffer } from "../backends/backend.ts";
import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";
import {
  type Aval,
  bytesOf,
  type DType,
  formatAval,
  hostArrays,
  type HostData,
  requireDtype,
  requireShape,
  sameShape,
  type Shape,
  sizeOf,
} from "../trace/dtype.ts";
import { fromList, HostArray, padded } from "../trace/host_array.ts";
import { type Mapped, type Tree, treeLeaves, treeMap } from "../trace/tree.ts";

/**
 * An array on a device: a parameter, a state, a batch, a result. It is owned by whoever holds it and freed by
 * `using`, `dispose()` or by being donated to a traced function.
 *
 * @example
 * ```ts
 * import { devices } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * {
 *   using x = device.array([1, 2, 3, 4], [2, 2]);
 *   assertEquals([...await x.read()], [1, 2, 3, 4]);
 * }
 * assertEquals(device.liveArrays, 0);
 * ```
 */
export class DeviceArray implements Aval {
  /** Where it lives. */
  readonly device: Device;
  /** Elements along each axis. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;
  #buffer: DeviceBuffer | undefined;
  #gone = "disposed";
  #guard: Promise<void> | undefined;

  /** Arrays are made by a {@link Device} or by a traced function. `guard` is awaited before its elements are read. */
  constructor(device: Device, aval: Aval, buffer: DeviceBuffer, guard?: Promise<void>) {
    this.device = device;
    this.shape = aval.shape;
    this.dtype = aval.dtype;
    this.#buffer = buffer;
    this.#guard = guard;
    device.adopt(this);
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }
  /** Whether its memory is gone. */
  get disposed(): boolean {
    return this.#buffer === undefined;
  }
  /** Its memory; an error once it was disposed of or donated. */
  get buffer(): DeviceBuffer {
    if (this.#buffer === undefined) {
      throw new LocalgradError(`this array ${formatAval(this)} was ${this.#gone} and can no longer be used`);
    }
    return this.#buffer;
  }

  /** Copies its elements to the host. */
  async read(): Promise<HostData> {
    const { buffer } = this;
    try {
      // Issued at once: before whatever the caller does next with this memory.
      const reading = this.device.backend.read(buffer, bytesOf(this));
      const [bytes] = await Promise.all([reading, this.#guard]);
      return new hostArrays[this.dtype](bytes.buffer, bytes.byteOffset, this.size);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const message = `the host has no memory for ${formatAval(this)}, ${bytesOf(this)} bytes; ` +
        `slice it within jit, and read the parts`;
      throw new LocalgradError(message, { cause: error });
    }
  }
  /** Copies it to the host, shape and all. */
  async toHost(): Promise<HostArray> {
    return new HostArray(await this.read(), this.shape, this.dtype);
  }

  /** Overwrites its elements with those of a host array of its shape and dtype. Takes no memory. */
  write(host: HostArray): void {
    if (!(host instanceof HostArray)) {
      throw new LocalgradError(`write: takes a host array, not ${shown(host)}`);
    }
    if (host.dtype !== this.dtype || !sameShape(host.shape, this.shape)) {
      throw new LocalgradError(`write: ${formatAval(host)} is not ${formatAval(this)}, as this array is`);
    }
    this.device.backend.write(this.buffer, padded(host.data, bytesOf(this)));
    this.#guard = undefined;
  }

  /** Frees its memory. Again is a no-op. `why` is what an error says of it if it is used later. */
  dispose(why: string = "disposed"): void {
    const buffer = this.#buffer;
    if (buffer === undefined) return;
    this.#buffer = undefined;
    this.#gone = why;
    this.device.forget(this);
    this.device.backend.free(buffer);
  }
  /** Frees its memory at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
  /** Gives its memory away: the array can no longer be used. For traced functions. */
  release(): DeviceBuffer {
    const buffer = this.buffer;
    this.#buffer = undefined;
    this.#gone = "donated to a traced function";
    this.device.forget(this);
    return buffer;
  }
}

/**
 * A backend with its arrays, counted. Open one with `devices.open()`; close it with `await using` or `close()`.
 */
export class Device {
  /** What runs on it. */
  readonly backend: Backend;
  /** What was chosen and why, for people. */
  readonly choice: string;
  readonly #arrays = new Set<DeviceArray>();
  readonly #closing = new Set<() => void>();
  #closed = false;

  /** Wraps a backend. */
  constructor(backend: Backend, choice: string = backend.description) {
    this.backend = backend;
    this.choice = choice;
  }

  /** The backend's name: `reference`, `cpu`, `webgpu`. */
  get name(): string {
    return this.backend.name;
  }
  /** Arrays made and neither disposed of nor donated. */
  get liveArrays(): number {
    return this.#arrays.size;
  }

  /**
   * Makes an array from numbers. A plain list or number becomes f32 unless `dtype` says otherwise; a typed array keeps
   * its own dtype. `shape` defaults to one axis (none for a number).
   */
  array(data: HostData | readonly number[] | number, shape?: Shape, dtype?: DType): DeviceArray {
    if (ArrayBuffer.isView(data)) return this.put(new HostArray(data, shape, dtype));
    const values = typeof data === "number" ? [data] : data;
    if (!Array.isArray(values) || values.some((value) => typeof value !== "number")) {
      throw new LocalgradError(
        "array: pass a number, a flat list of numbers or a typed array; the shape is the second argument",
      );
    }
    const ofItself = typeof data === "number" ? [] : [data.length];
    return this.put(fromList(values, shape ?? ofItself, dtype ?? "f32"));
  }
  /** Copies a host array, or every host array of a tree, to the device; all of them or, where memory ends, none. */
  put<R extends Tree<HostArray>>(tree: R): Mapped<R, HostArray, DeviceArray> {
    const made: DeviceArray[] = [];
    try {
      return treeMap((host: HostArray) => {
        if (!(host instanceof HostArray)) {
          throw new LocalgradError(
            `put: takes host arrays, and trees of them, not ${shown(host)}; make one: new HostArray(…)`,
          );
        }
        const bytes = bytesOf(host);
        const array = new DeviceArray(this, host, this.use().allocate(bytes, host.dtype));
        made.push(array);
        this.backend.write(array.buffer, padded(host.data, bytes));
        return array;
      }, tree);
    } catch (error) {
      for (const array of made) array.dispose();
      throw error;
    }
  }
  /** An array of zeros. */
  zeros(shape: Shape, dtype: DType = "f32"): DeviceArray {
    const aval = { shape, dtype };
    requireShape(shape, "zeros");
    requireDtype(dtype, "zeros");
    return new DeviceArray(this, aval, this.use().allocate(bytesOf(aval), dtype));
  }

  /** Waits until everything asked of it is done. */
  async finish(): Promise<void> {
    await this.use().finish();
  }
  /** Frees all its arrays and everything the backend holds. Again is a no-op. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const array of [...this.#arrays]) array.dispose("freed when its device was closed");
    for (const release of [...this.#closing]) release();
    await this.backend.close();
  }
  /** Closes it at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Counts an array in. */
  adopt(array: DeviceArray): void {
    this.#arrays.add(array);
  }
  /** Counts an array out. */
  forget(array: DeviceArray): void {
    this.#arrays.delete(array);
  }
  /** Calls `release` when the device closes. The function given back ends that. */
  onClose(release: () => void): () => void {
    this.#closing.add(release);
    return () => void this.#closing.delete(release);
  }
  /** Its backend, to work with. Raises a LocalgradError where the device was closed. */
  use(): Backend {
    if (this.#closed) {
      throw new LocalgradError(`this ${this.name} device was closed; open another with devices.open()`);
    }
    return this.backend;
  }
}

/** Frees every array of a tree. */
export function disposeTree(tree: Tree<DeviceArray>): void {
  for (const array of treeLeaves(tree)) {
    if (!(array instanceof DeviceArray)) {
      throw new LocalgradError(`disposeTree frees trees of device arrays; this one holds ${shown(array)}`);
    }
    array.dispose();
  }
}
