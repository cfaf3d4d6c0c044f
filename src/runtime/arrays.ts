import type { Backend, DeviceBuffer } from "../backends/backend.ts";
import type { Processes } from "../backends/communicator.ts";
import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";
import { noOperator, printsAsText, showsInNotebooks } from "../base/inspect.ts";
import {
  type Aval,
  bytesOf,
  type DType,
  formatAval,
  type HostArrays,
  hostArrays,
  type HostData,
  requireDtype,
  requireShape,
  sameShape,
  type Shape,
  sizeOf,
} from "../trace/dtype.ts";
import { fromBf16 } from "../trace/bf16.ts";
import { fromList, HostArray, numbersOf, padded } from "../trace/host_array.ts";
import { type Mapped, type Tree, treeLeaves, treeMap } from "../trace/tree.ts";
import { aliveText } from "./alive.ts";

/** Number of values that a notebook shows. */
const SHOWN = 12;

/**
 * An array on a device: a parameter, a state, a batch, a result. Its owner frees it with `using` or `dispose()`, or
 * donates it to a traced function.
 *
 * Methods throw a {@link LocalgradError} once the array is disposed of or donated, or its device closed.
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
  /** The device whose memory it occupies. */
  readonly device: Device;
  /** Extent of each axis, in elements. */
  readonly shape: Shape;
  /** Element type. */
  readonly dtype: DType;
  #buffer: DeviceBuffer | undefined;
  #gone = "disposed";
  #guard: Promise<void> | undefined;

  /** Called by a {@link Device} or a traced function. `guard` is awaited before elements are read. */
  constructor(device: Device, aval: Aval, buffer: DeviceBuffer, guard?: Promise<void>) {
    this.device = device;
    this.shape = aval.shape;
    this.dtype = aval.dtype;
    this.#buffer = buffer;
    this.#guard = guard;
    device.adopt(this);
  }

  /** Its dtype and shape, its device, and whether it is gone: `DeviceArray f32[8,3] on cpu`. */
  toString(): string {
    const gone = this.disposed ? `, ${this.#gone}` : "";
    return `DeviceArray ${formatAval(this)} on ${this.device.name}${gone}`;
  }
  /**
   * Gives the text of a template; refuses operators, which would compute with that text.
   *
   * @throws {LocalgradError} in `a + b`, `a < b`, `-a` and the like.
   */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.toString();
    throw new LocalgradError(`${noOperator(this.toString(), hint)}; tensors have them, within jit(…)`);
  }

  static {
    showsInNotebooks(DeviceArray, (array) => array.#shown());
  }
  /** Its text with its first values, for a notebook. */
  async #shown(): Promise<string> {
    if (this.disposed) return this.toString();
    const count = Math.min(this.size, SHOWN);
    const reading = this.device.backend.read(this.buffer, bytesOf({ shape: [count], dtype: this.dtype }));
    const [bytes] = await Promise.all([reading, this.#guard]);
    const stored = new hostArrays[this.dtype](bytes.buffer, bytes.byteOffset, count);
    const values = this.dtype === "bf16" ? fromBf16(Uint16Array.from(stored)) : stored;
    const texts = Array.from(values, (value) => String(Number(value.toPrecision(6))));
    return `${this}\n${[...texts, ...this.size > count ? ["…"] : []].join(", ")}`;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }
  /** True once it is disposed of or donated. */
  get disposed(): boolean {
    return this.#buffer === undefined;
  }
  /**
   * Its memory.
   *
   * @throws {LocalgradError} once it is disposed of or donated.
   */
  get buffer(): DeviceBuffer {
    if (this.#buffer === undefined) {
      throw new LocalgradError(`this array ${formatAval(this)} was ${this.#gone} and can no longer be used`);
    }
    return this.#buffer;
  }

  /**
   * Copies its elements to the host. Sees all work issued before the call.
   *
   * @param dtype The dtype that the caller expects, checked when it runs: `await loss.read("f32")` is a Float32Array,
   * in its type too. Without it the type is that of any typed array.
   * @returns Elements, row-major, in the typed array of its dtype: a Float32Array for f32, see {@link HostArrays}.
   * @throws {LocalgradError} if the array is gone or of another dtype, or the host has no memory for it.
   */
  async read<D extends DType = DType>(dtype?: D): Promise<HostArrays[D]> {
    const { buffer } = this;
    if (dtype !== undefined && dtype !== this.dtype) {
      requireDtype(dtype, "read");
      throw new LocalgradError(
        `read: this array is ${formatAval(this)}, not ${dtype}; read it as ${this.dtype}`,
      );
    }
    try {
      // Issued at once: before the caller does anything else with this memory.
      const reading = this.device.backend.read(buffer, bytesOf(this));
      const [bytes] = await Promise.all([reading, this.#guard]);
      return new hostArrays[this.dtype](bytes.buffer, bytes.byteOffset, this.size) as HostArrays[D];
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      const message = `the host has no memory for ${formatAval(this)}, ${bytesOf(this)} bytes; ` +
        `slice it in a traced function, and read the parts`;
      throw new LocalgradError(message, { cause: error });
    }
  }
  /** Copies it to the host, with its shape and dtype. Takes an expected dtype, and throws, as {@link read} does. */
  async toHost<D extends DType = DType>(dtype?: D): Promise<HostArray<D>> {
    return new HostArray(await this.read(dtype), this.shape, this.dtype as D);
  }

  /**
   * Overwrites its elements; allocates no memory on the device.
   *
   * @param host Elements of the same shape and dtype.
   * @throws {LocalgradError} if shape or dtype differ.
   */
  write(host: HostArray): void {
    if (!(host instanceof HostArray)) {
      throw new LocalgradError(`write: takes a host array, not ${shown(host)}`);
    }
    if (host.dtype !== this.dtype || !sameShape(host.shape, this.shape)) {
      throw new LocalgradError(`write: ${formatAval(host)} is not ${formatAval(this)}, like this array`);
    }
    this.device.backend.write(this.buffer, padded(host.data, bytesOf(this)));
    this.#guard = undefined;
  }

  /**
   * Frees its memory. Does nothing the second time.
   *
   * @param why Completes the error of any later use: "this array f32[2] was …"; default "disposed".
   */
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
  /** Gives its memory away, for traced functions: the array can no longer be used. */
  release(): DeviceBuffer {
    const buffer = this.buffer;
    this.#buffer = undefined;
    this.#gone = "donated to a traced function";
    this.device.forget(this);
    return buffer;
  }
}

printsAsText(DeviceArray);

/**
 * An open device and the arrays on it. Open one with {@link devices.open}; close it with `await using` or `close()`.
 *
 * Methods throw a {@link LocalgradError} once the device is closed, and if its memory does not suffice.
 */
export class Device {
  /** The backend that runs on it. */
  readonly backend: Backend;
  /** A description of the device and why it was chosen, for display. */
  readonly choice: string;
  /** The processes of which this device's is one; undefined if it was opened for one process. */
  readonly processes: Processes | undefined;
  /** The arrays that are alive, oldest first, each with its number among all that were made. */
  readonly #arrays = new Map<DeviceArray, number>();
  #made = 0;
  readonly #closing = new Set<() => void>();
  #closed = false;

  /** Wraps a backend. */
  constructor(backend: Backend, choice: string = backend.description, processes?: Processes) {
    this.backend = backend;
    this.choice = choice;
    this.processes = processes;
  }

  /** Its name and description. */
  toString(): string {
    return `Device ${this.choice}`;
  }
  /** The name of the backend: `cuda`, `webgpu`, `cpu` or `reference`. */
  get name(): string {
    return this.backend.name;
  }
  /**
   * What the last bits of its results depend on, such as "cpu, oneDNN 3.2.0 (avx512_core_bf16)" or "cpu, WebAssembly". The
   * number of threads is not part of it.
   */
  get arithmetic(): string {
    return this.backend.arithmetic ?? `${this.name}, ${this.backend.description}`;
  }
  /** The number of arrays that were neither disposed of nor donated. */
  get liveArrays(): number {
    return this.#arrays.size;
  }

  /**
   * Makes an array from numbers on the host.
   *
   * @param data Elements, row-major: a typed array, a flat list, or one number.
   * @param shape Default: one axis of all elements, or `[]` for a number.
   * @param dtype Default: the dtype of the typed array, or f32.
   * @throws {LocalgradError} if the elements do not fill the shape or fit the dtype.
   */
  array(data: HostData | readonly number[] | number, shape?: Shape, dtype?: DType): DeviceArray {
    if (ArrayBuffer.isView(data)) return this.put(new HostArray(data, shape, dtype));
    const values = numbersOf(data);
    const natural = typeof data === "number" ? [] : [values.length];
    return this.put(fromList(values, shape ?? natural, dtype ?? "f32"));
  }
  /**
   * Copies a host array, or a tree of them, to the device.
   *
   * @returns A device array, or a tree of them.
   * @throws {LocalgradError} if the tree has any other leaf, or memory does not suffice; then nothing is allocated.
   */
  put<R extends Tree<HostArray>>(tree: R): Mapped<R, HostArray, DeviceArray> {
    const made: DeviceArray[] = [];
    try {
      return treeMap((host: HostArray) => {
        if (!(host instanceof HostArray)) {
          throw new LocalgradError(
            `put: takes host arrays or trees of them, not ${shown(host)}; make one: new HostArray(…)`,
          );
        }
        const bytes = bytesOf(host);
        const array = new DeviceArray(this, host, this.allocate(bytes, host.dtype));
        made.push(array);
        this.backend.write(array.buffer, padded(host.data, bytes));
        return array;
      }, tree);
    } catch (error) {
      for (const array of made) array.dispose();
      throw error;
    }
  }
  /** Makes an array of zeros, by default f32. */
  zeros(shape: Shape, dtype: DType = "f32"): DeviceArray {
    const aval = { shape, dtype };
    requireShape(shape, "zeros");
    requireDtype(dtype, "zeros");
    return new DeviceArray(this, aval, this.allocate(bytesOf(aval), dtype));
  }

  /**
   * Allocates memory, for arrays and traced functions.
   *
   * @throws {LocalgradError} if memory does not suffice; the message says which arrays are alive.
   */
  allocate(bytes: number, dtype: DType): DeviceBuffer {
    return this.explaining(() => this.use().allocate(bytes, dtype));
  }
  /** Runs `body`. If it fails for want of memory, the error says how many arrays are alive and which are the oldest. */
  explaining<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      if (!(error instanceof LocalgradError) || error.code !== "tooLarge" || this.#arrays.size === 0) {
        throw error;
      }
      throw new LocalgradError(`${error.message}; ${aliveText(this.#arrays, this.#made)}`, {
        cause: error,
        code: error.code,
      });
    }
  }

  /** Waits until all issued work is done. */
  async finish(): Promise<void> {
    await this.use().finish();
  }
  /** Frees all its arrays and everything else that the backend allocated. Does nothing the second time. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const array of [...this.#arrays.keys()]) array.dispose("freed when its device was closed");
    for (const release of [...this.#closing]) release();
    await this.backend.close();
  }
  /** Closes it at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Registers an array; called by its constructor. */
  adopt(array: DeviceArray): void {
    this.#arrays.set(array, ++this.#made);
  }
  /** Removes an array whose memory is freed or given away. */
  forget(array: DeviceArray): void {
    this.#arrays.delete(array);
  }
  /** Registers `release` to be called when the device closes. Returns a function that cancels this. */
  onClose(release: () => void): () => void {
    this.#closing.add(release);
    return () => void this.#closing.delete(release);
  }
  /**
   * Its backend.
   *
   * @throws {LocalgradError} if the device is closed.
   */
  use(): Backend {
    if (this.#closed) {
      throw new LocalgradError(`this ${this.name} device was closed; open another with devices.open()`);
    }
    return this.backend;
  }
}

printsAsText(Device);

/**
 * Frees every array of a tree.
 *
 * @throws {LocalgradError} if the tree has a leaf other than a device array.
 */
export function disposeTree(tree: Tree<DeviceArray>): void {
  for (const array of treeLeaves(tree)) {
    if (!(array instanceof DeviceArray)) {
      throw new LocalgradError(
        `disposeTree: takes trees of device arrays; this one contains ${shown(array)}`,
      );
    }
    array.dispose();
  }
}
