import type { DeviceBuffer, Executable } from "../backends/backend.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Plan } from "../compile/plan.ts";
import { type Aval, bytesOf } from "../trace/dtype.ts";
import { type HostArray, padded } from "../trace/host_array.ts";
import type { NumericsCheck } from "../trace/numerics.ts";
import type { Program } from "../trace/program.ts";
import { type Tree, treeUnflatten } from "../trace/tree.ts";
import { type Device, DeviceArray } from "./arrays.ts";
import { refuseSharedDonation } from "./donation.ts";

/** A traced program and the structure of its results. */
export interface Traced {
  readonly program: Program;
  readonly structure: Tree<number>;
  readonly check: NumericsCheck | undefined;
}

/** A program compiled for a device. */
export class Compiled {
  readonly #traced: Traced;
  readonly #device: Device;
  /** Each result with the index of the input whose memory it takes over, or −1. */
  readonly #results: readonly { readonly aval: Aval; readonly donor: number }[];
  readonly #executable: Executable;
  /** Buffers for arguments from the host, by input index, reused in every call. */
  readonly #staging = new Map<number, DeviceBuffer>();

  constructor(traced: Traced, device: Device, plan: Plan, executable: Executable) {
    this.#traced = traced;
    this.#device = device;
    const { outputs, values } = traced.program;
    this.#results = outputs.map(({ value }, k) => ({ aval: at(values, value), donor: at(plan.donors, k) }));
    this.#executable = executable;
  }

  /** Runs it on the leaves of its arguments and returns the tree of its results. */
  run(leaves: readonly (DeviceArray | HostArray)[]): Tree<DeviceArray> {
    const { program, structure, check } = this.#traced;
    const { backend } = this.#device;
    refuseSharedDonation(program, leaves);
    const inputs = leaves.map((leaf, i) => {
      if (!(leaf instanceof DeviceArray)) return this.#upload(leaf, i);
      if (leaf.device === this.#device) return leaf.buffer;
      const { name } = at(program.inputs, i);
      throw new LocalgradError(`${program.name}: argument ${name} is on another device`);
    });
    const results = this.#results;
    const outputs: (DeviceBuffer | undefined)[] = [];
    try {
      for (const { aval, donor } of results) {
        outputs.push(donor < 0 ? this.#device.allocate(bytesOf(aval), aval.dtype) : undefined);
      }
      this.#executable.run(inputs, outputs);
    } catch (error) {
      for (const buffer of outputs) if (buffer !== undefined) backend.free(buffer);
      throw error;
    }

    const buffers = results.map(({ donor }, k) => {
      const own = outputs[k];
      if (own !== undefined) return own;
      const leaf = leaves[donor];
      if (leaf instanceof DeviceArray) return leaf.release();
      this.#staging.delete(donor); // the result has taken over a staging buffer
      return at(inputs, donor);
    });
    const taken = new Set(results.map(({ donor }) => donor));
    leaves.forEach((leaf, i) => {
      if (at(program.inputs, i).donated && !taken.has(i) && leaf instanceof DeviceArray) leaf.dispose();
    });
    const place = check && buffers.pop(); // the last result, which the check added
    const guard = place && check?.verdict(backend.read(place, 4));
    guard?.catch(() => {}); // whoever reads a result awaits it
    if (place !== undefined) backend.free(place);
    const arrays = buffers.map((buffer, k) =>
      new DeviceArray(this.#device, at(results, k).aval, buffer, guard)
    );
    return treeUnflatten(structure, arrays);
  }

  #upload(host: HostArray, index: number): DeviceBuffer {
    const { backend } = this.#device;
    const bytes = bytesOf(host);
    let buffer = this.#staging.get(index);
    if (buffer === undefined) {
      buffer = this.#device.allocate(bytes, host.dtype);
      this.#staging.set(index, buffer);
    }
    backend.write(buffer, padded(host.data, bytes));
    return buffer;
  }

  /** Frees its memory. Its results belong to their owners and stay. */
  dispose(): void {
    this.#executable.dispose();
    for (const buffer of this.#staging.values()) this.#device.backend.free(buffer);
    this.#staging.clear();
  }
}

/** The compiled programs of one function, by device and by the shapes of their arguments. */
export class CompiledPrograms {
  readonly #most: number;
  /** The programs of each device, the one used last at the end, and the function that cancels its closing call. */
  readonly #devices = new Map<Device, { readonly programs: Map<string, Compiled>; forget(): void }>();

  /** Keeps at most `most` programs for each device. */
  constructor(most: number) {
    this.#most = most;
  }

  /** The program for these shapes, if there is one; it becomes the one used last. */
  get(device: Device, key: string): Compiled | undefined {
    const programs = this.#devices.get(device)?.programs;
    const compiled = programs?.get(key);
    if (programs === undefined || compiled === undefined) return undefined;
    programs.delete(key);
    programs.set(key, compiled);
    return compiled;
  }

  /** Adds a program, and frees the one unused for longest if there are too many: it is not running. */
  add(device: Device, key: string, compiled: Compiled): void {
    let entry = this.#devices.get(device);
    if (entry === undefined) {
      entry = { programs: new Map(), forget: device.onClose(() => this.#release(device)) };
      this.#devices.set(device, entry);
    }
    const { programs } = entry;
    programs.set(key, compiled);
    if (programs.size <= this.#most) return;
    for (const [oldest, unused] of programs) {
      programs.delete(oldest);
      unused.dispose();
      return;
    }
  }

  /** Frees all programs. */
  dispose(): void {
    for (const device of [...this.#devices.keys()]) this.#release(device);
  }

  #release(device: Device): void {
    const entry = this.#devices.get(device);
    if (entry === undefined) return;
    this.#devices.delete(device);
    entry.forget();
    for (const compiled of entry.programs.values()) compiled.dispose();
  }
}
