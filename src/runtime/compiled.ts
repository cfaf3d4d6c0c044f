import type { DeviceBuffer, Executable } from "../backends/backend.ts";
import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Plan } from "../compile/plan.ts";
import { type Aval, bytesOf } from "../trace/dtype.ts";
import { HostArray, padded } from "../trace/host_array.ts";
import type { NumericsCheck } from "../trace/numerics.ts";
import type { Program } from "../trace/program.ts";
import type { Tree } from "../trace/tree.ts";
import type { Part } from "./arguments.ts";
import type { Device, DeviceArray } from "./arrays.ts";
import { refuseSharedDonation } from "./donation.ts";
import { Held, type Layout, layoutOf, present } from "./held.ts";

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
  /** The results as a tree; without the last one, if a check added it. */
  readonly #layout: Layout;
  /** For each input, whether it is donated, and whether a result takes its memory. */
  readonly #donated: readonly boolean[];
  readonly #taken: readonly boolean[];
  readonly #executable: Executable;
  /** Buffers for arguments from the host, by input index, reused in every call. */
  readonly #staging = new Map<number, DeviceBuffer>();

  constructor(traced: Traced, device: Device, plan: Plan, executable: Executable) {
    this.#traced = traced;
    this.#device = device;
    const { inputs, outputs, values } = traced.program;
    this.#results = outputs.map(({ value }, k) => ({ aval: at(values, value), donor: at(plan.donors, k) }));
    this.#layout = layoutOf(traced.structure, this.#results.map(({ aval }) => aval));
    const donors = new Set(plan.donors);
    this.#donated = inputs.map(({ donated }) => donated);
    this.#taken = inputs.map((_, i) => donors.has(i));
    this.#executable = executable;
  }

  /** Runs it on its arguments and returns the tree of its results. */
  run(parts: readonly Part[]): Tree<DeviceArray> {
    const { program, check } = this.#traced;
    const { backend } = this.#device;
    refuseSharedDonation(program, parts);
    const inputs: DeviceBuffer[] = [];
    for (const part of parts) {
      if (part instanceof HostArray) inputs.push(this.#upload(part, inputs.length));
      else {
        if (part.device !== this.#device) {
          const { name } = at(program.inputs, inputs.length);
          throw new LocalgradError(`${program.name}: argument ${name} is on another device`);
        }
        if (part instanceof Held) part.addTo(inputs);
        else inputs.push(part.buffer);
      }
    }
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

    const buffers = results.map(({ donor }, k) => outputs[k] ?? at(inputs, donor));
    this.#give(parts, inputs);
    const place = check && buffers.pop(); // the last result, which the check added
    const guard = place && check?.verdict(backend.read(place, 4));
    guard?.catch(() => {}); // whoever reads a result awaits it
    if (place !== undefined) backend.free(place);
    return present(this.#device, this.#layout, buffers, guard);
  }

  /** Ends the life of donated arguments: results have taken over their memory, or it is freed. */
  #give(parts: readonly Part[], inputs: readonly DeviceBuffer[]): void {
    let index = 0;
    for (const part of parts) {
      const first = index;
      index += part instanceof Held ? part.avals.length : 1;
      if (part instanceof HostArray) {
        if (this.#taken[first] === true) this.#staging.delete(first); // the result has the staging buffer
      } else if (this.#donated[first] === true) {
        if (part instanceof Held) {
          part.release("donated to a traced function");
          for (let i = first; i < index; i++) {
            if (this.#taken[i] !== true) this.#device.backend.free(at(inputs, i));
          }
        } else if (this.#taken[first] === true) part.release();
        else part.dispose();
      }
    }
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
  /** The program used last, mostly the next one too: its key need not be joined. */
  #last:
    | { readonly device: Device; readonly key: readonly string[]; readonly compiled: Compiled }
    | undefined;

  /** Keeps at most `most` programs for each device. */
  constructor(most: number) {
    this.#most = most;
  }

  /** The program for these shapes, if there is one; it becomes the one used last. `key` is a text in pieces. */
  get(device: Device, key: readonly string[]): Compiled | undefined {
    const last = this.#last;
    if (last?.device === device && isSame(last.key, key)) return last.compiled;
    const programs = this.#devices.get(device)?.programs;
    const text = key.join("");
    const compiled = programs?.get(text);
    if (programs === undefined || compiled === undefined) return undefined;
    programs.delete(text);
    programs.set(text, compiled);
    this.#last = { device, key, compiled };
    return compiled;
  }

  /** Adds a program, and frees the one unused for longest if there are too many: it is not running. */
  add(device: Device, key: readonly string[], compiled: Compiled): void {
    let entry = this.#devices.get(device);
    if (entry === undefined) {
      entry = { programs: new Map(), forget: device.onClose(() => this.#release(device)) };
      this.#devices.set(device, entry);
    }
    const { programs } = entry;
    programs.set(key.join(""), compiled);
    this.#last = { device, key, compiled };
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
    if (this.#last?.device === device) this.#last = undefined;
    entry.forget();
    for (const compiled of entry.programs.values()) compiled.dispose();
  }
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((piece, i) => piece === b[i]);
}
