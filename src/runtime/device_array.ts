import type { DeviceBuffer } from "../backends/backend.ts";
import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";
import { noOperator, printsAsText, showsInNotebooks } from "../base/inspect.ts";
import {
  type Aval,
  bytesOf,
  type DType,
  formatAval,
  type HostArrays,
  requireDtype,
  sameShape,
  type Shape,
  sizeOf,
} from "../trace/dtype.ts";
import { HostArray, padded } from "../trace/host_array.ts";
import type { Device } from "./arrays.ts";
import { type ArrayMemory, firstValues, readElements } from "./elements.ts";

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

  /** An array that is gone from the start; `why` as in {@link dispose}. */
  static gone(device: Device, aval: Aval, why: string): DeviceArray {
    const array = new DeviceArray(device, aval, {} as DeviceBuffer);
    array.#buffer = undefined;
    array.#gone = why;
    device.forget(array);
    return array;
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
    return `${this}\n${await firstValues(this.device.backend, this.#memory)}`;
  }
  get #memory(): ArrayMemory {
    return { shape: this.shape, dtype: this.dtype, buffer: this.buffer, guard: this.#guard };
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
    const memory = this.#memory;
    if (dtype !== undefined && dtype !== this.dtype) {
      requireDtype(dtype, "read");
      throw new LocalgradError(
        `read: this array is ${formatAval(this)}, not ${dtype}; read it as ${this.dtype}`,
      );
    }
    return await readElements(this.device.backend, memory) as HostArrays[D];
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
