import type { Backend, DeviceBuffer } from "../backends/backend.ts";
import type { Processes } from "../backends/communicator.ts";
import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";
import { printsAsText } from "../base/inspect.ts";
import {
  type Aval,
  bytesOf,
  type DType,
  type HostData,
  requireDtype,
  requireShape,
  type Shape,
} from "../trace/dtype.ts";
import { fromList, HostArray, numbersOf, padded } from "../trace/host_array.ts";
import { type Mapped, type Tree, treeLeaves, treeMap } from "../trace/tree.ts";
import { AliveArrays } from "./alive.ts";
import { DeviceArray } from "./device_array.ts";

export { DeviceArray };

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
  readonly #arrays = new AliveArrays<DeviceArray>();
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
    return this.#arrays.count;
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
    return this.#arrays.explaining(body);
  }

  /** Waits until all issued work is done. */
  async finish(): Promise<void> {
    await this.use().finish();
  }
  /** Frees all its arrays and everything else that the backend allocated. Does nothing the second time. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const array of [...this.#arrays.all, ...this.#arrays.held]) {
      array.dispose("freed when its device was closed");
    }
    for (const release of [...this.#closing]) release();
    await this.backend.close();
  }
  /** Closes it at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Registers an array; called by its constructor. */
  adopt(array: DeviceArray): void {
    this.#arrays.add(array);
  }
  /** Removes an array whose memory is freed or given away. */
  forget(array: DeviceArray): void {
    this.#arrays.delete(array);
  }
  /** Registers arrays that are held together, as the results of a program are at first. */
  hold(held: { readonly avals: readonly Aval[]; dispose(why: string): void }): void {
    this.#arrays.hold(held);
  }
  /** Removes those. */
  unhold(held: { readonly avals: readonly Aval[]; dispose(why: string): void }): void {
    this.#arrays.unhold(held);
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
