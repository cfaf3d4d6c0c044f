import type { DeviceBuffer, Executable } from "../backends/backend.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Plan } from "../compile/plan.ts";
import { bytesOf, type HostData } from "../trace/dtype.ts";
import { HostArray, padded } from "../trace/host_array.ts";
import type { NumericsCheck } from "../trace/numerics.ts";
import type { Program } from "../trace/program.ts";
import { type Tree, treeUnflatten } from "../trace/tree.ts";
import { type Device, DeviceArray } from "./arrays.ts";

/** A traced program together with how to give its results back. */
export interface Traced {
  readonly program: Program;
  readonly structure: Tree<number>;
  readonly check: NumericsCheck | undefined;
}

/** A program compiled for a device. */
export class Compiled {
  readonly #traced: Traced;
  readonly #device: Device;
  readonly #plan: Plan;
  readonly #executable: Executable;
  /** Buffers for arguments that come from the host, by input index; kept from call to call. */
  readonly #staging = new Map<number, DeviceBuffer>();

  constructor(traced: Traced, device: Device, plan: Plan, executable: Executable) {
    this.#traced = traced;
    this.#device = device;
    this.#plan = plan;
    this.#executable = executable;
  }

  /** Runs it on the leaves of its arguments; gives the tree of its results. */
  run(leaves: readonly unknown[]): unknown {
    const { program, structure, check } = this.#traced;
    const { backend } = this.#device;
    refuseSharedDonation(program, leaves);
    const inputs = leaves.map((leaf, i) => {
      if (!(leaf instanceof DeviceArray)) return this.#upload(leaf, i);
      if (leaf.device !== this.#device) {
        throw new LocalgradError(`${program.name}: argument ${program.inputs[i].name} is on another device`);
      }
      return leaf.buffer;
    });
    const avals = program.outputs.map((output) => program.values[output.value]);
    const { donors } = this.#plan;
    const outputs: (DeviceBuffer | undefined)[] = [];
    try {
      for (const [k, aval] of avals.entries()) {
        outputs.push(donors[k] < 0 ? backend.allocate(bytesOf(aval), aval.dtype) : undefined);
      }
      this.#executable.run(inputs, outputs);
    } catch (error) {
      for (const buffer of outputs) if (buffer !== undefined) backend.free(buffer);
      throw error;
    }

    const taken = new Set(donors);
    const buffers = outputs.map((buffer, k) => {
      if (buffer !== undefined) return buffer;
      const donor = leaves[donors[k]];
      if (donor instanceof DeviceArray) return donor.release();
      this.#staging.delete(donors[k]); // the result took over a staging buffer
      return inputs[donors[k]];
    });
    leaves.forEach((leaf, i) => {
      if (program.inputs[i].donated && !taken.has(i) && leaf instanceof DeviceArray) leaf.dispose();
    });
    const guard = check?.verdict(backend.read(buffers.at(-1)!, 4));
    guard?.catch(() => {}); // it is awaited by whoever reads a result
    if (check !== undefined) backend.free(buffers.pop()!);
    const arrays = buffers.map((buffer, k) => new DeviceArray(this.#device, avals[k], buffer, guard));
    return treeUnflatten(structure, arrays);
  }

  #upload(leaf: unknown, index: number): DeviceBuffer {
    const { program } = this.#traced;
    const { backend } = this.#device;
    const aval = program.values[program.inputs[index].value];
    const bytes = bytesOf(aval);
    let buffer = this.#staging.get(index);
    if (buffer === undefined) {
      buffer = backend.allocate(bytes, aval.dtype);
      this.#staging.set(index, buffer);
    }
    backend.write(buffer, padded(hostData(leaf), bytes));
    return buffer;
  }

  /** Frees what it holds. Its results are their owners' and stay. */
  dispose(): void {
    this.#executable.dispose();
    for (const buffer of this.#staging.values()) this.#device.backend.free(buffer);
    this.#staging.clear();
  }
}

/** The compiled programs of one function, by device and by the shapes of their arguments. */
export class CompiledPrograms {
  readonly #most: number;
  /** Those of a device, the one used last at the end, and what ends its telling of its close. */
  readonly #devices = new Map<Device, { readonly programs: Map<string, Compiled>; forget(): void }>();

  /** `most` is how many are kept for a device. */
  constructor(most: number) {
    this.#most = most;
  }

  /** The program for these shapes, if it is there; counts as used. */
  get(device: Device, key: string): Compiled | undefined {
    const programs = this.#devices.get(device)?.programs;
    const compiled = programs?.get(key);
    if (compiled === undefined) return undefined;
    programs!.delete(key);
    programs!.set(key, compiled);
    return compiled;
  }

  /** Adds a program. Frees the one that was not used for longest where there are too many: no run of it is under way. */
  add(device: Device, key: string, compiled: Compiled): void {
    let entry = this.#devices.get(device);
    if (entry === undefined) {
      entry = { programs: new Map(), forget: device.onClose(() => this.#release(device)) };
      this.#devices.set(device, entry);
    }
    const { programs } = entry;
    programs.set(key, compiled);
    if (programs.size <= this.#most) return;
    const [[oldest, unused]] = programs;
    programs.delete(oldest);
    unused.dispose();
  }

  /** Frees all of them. */
  dispose(): void {
    for (const device of [...this.#devices.keys()]) this.#release(device);
  }

  #release(device: Device): void {
    const { programs, forget } = this.#devices.get(device)!;
    this.#devices.delete(device);
    forget();
    for (const compiled of programs.values()) compiled.dispose();
  }
}

/** An array given away must not be read under another name in the same call. */
function refuseSharedDonation(program: Program, leaves: readonly unknown[]): void {
  if (!program.inputs.some((input) => input.donated)) return;
  const seen = new Map<DeviceArray, number>();
  leaves.forEach((leaf, i) => {
    if (!(leaf instanceof DeviceArray)) return;
    const before = seen.get(leaf);
    if (before !== undefined && (program.inputs[before].donated || program.inputs[i].donated)) {
      throw new LocalgradError(
        `${program.name}: ${program.inputs[before].name} and ${
          program.inputs[i].name
        } are one array, which is ` +
          `donated; pass a copy or do not donate it`,
      );
    }
    seen.set(leaf, i);
  });
}

function hostData(leaf: unknown): HostData {
  if (typeof leaf === "number") return Float32Array.of(leaf);
  return leaf instanceof HostArray ? leaf.data : leaf as HostData;
}
