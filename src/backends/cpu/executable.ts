import type { Location, Plan, Step } from "../../compile/plan.ts";
import { type Aval, bytesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import type { DeviceBuffer, Executable, PlanLaunch } from "../backend.ts";
import type { Communicators } from "../communicator.ts";
import { Exchanges, type HostMemory, type Slot } from "../exchanges.ts";
import type { Lowering } from "./lower.ts";
import type { LinearMemory } from "./memory.ts";
import type { Operand, Routine } from "./routine.ts";
import { primitivesText } from "./onednn/primitives.ts";
import { assemble, record } from "./plan_module.ts";
import type { LoadedModule, ThreadPool } from "./threads.ts";

/** A buffer of the CPU backend: a block of the shared memory. */
export interface CpuBuffer extends DeviceBuffer {
  /** Its first byte. */
  readonly address: number;
}

/** The services that an executable needs from its device. */
export interface Host {
  readonly memory: LinearMemory;
  readonly pool: ThreadPool;
  readonly lowering: Lowering;
  readonly communicators: Communicators;
  /** Address of the arena that all plans share; it moves when a plan needs a larger one. */
  arena(): number;
  /** The address of a live buffer; throws for any other. */
  addressOf(buffer: DeviceBuffer): number;
  /** Called once, when an executable is disposed. */
  disposed(executable: CpuExecutable): void;
}

/** An operand resolved to a slot, which holds an address, and an offset from it. */
interface Place {
  readonly slot: number;
  readonly offset: number;
}

interface ResolvedLaunch {
  readonly step: Step;
  /** The step's position in the plan. */
  readonly position: number;
  readonly routine: Routine;
  readonly operands: readonly Place[];
}

/** Slots: the arena, the constants, inputs, outputs. */
const ARENA_SLOT = 0;
const CONSTANT_SLOT = 1;
const FIRST_INPUT_SLOT = 2;

/** Bytes that the address of a message's slot is a multiple of, as the plan has it. */
const SLOT_ALIGNMENT = 64;

/** Launches between two calls that let transfers under way progress. */
const LAUNCHES_PER_POLL = 8;

/** A plan's launches, and where its values are. */
interface LoweredPlan {
  readonly launches: readonly ResolvedLaunch[];
  readonly constantOffsets: readonly number[];
  readonly constantBytes: number;
  placeOf(value: ValueId): Place;
}

/** The launches of a plan, in order, with the place of every operand. */
function lowerPlan(plan: Plan, lowering: Lowering): LoweredPlan {
  const constantOffsets: number[] = [];
  let constantBytes = 0;
  for (const { aval } of plan.constants) {
    constantOffsets.push(constantBytes);
    constantBytes += Math.ceil(bytesOf(aval) / 64) * 64;
  }
  const firstOutput = FIRST_INPUT_SLOT + plan.inputs.length;
  const placeOf = (value: ValueId): Place => {
    const location = locationOf(plan, value);
    switch (location.kind) {
      case "arena":
        return { slot: ARENA_SLOT, offset: location.offset };
      case "constant":
        return { slot: CONSTANT_SLOT, offset: constantOffsets[location.index] };
      case "input":
        return { slot: FIRST_INPUT_SLOT + location.index, offset: 0 };
      case "output": {
        const donor = plan.donors[location.index];
        return { slot: donor >= 0 ? FIRST_INPUT_SLOT + donor : firstOutput + location.index, offset: 0 };
      }
    }
  };
  const resolve = (step: Step, operand: Operand): Place => {
    if ("workspace" in operand) {
      return { slot: ARENA_SLOT, offset: (step.workspace?.offset ?? 0) + operand.workspace };
    }
    return placeOf(operand.value);
  };
  const launches: ResolvedLaunch[] = [];
  for (const [position, step] of plan.steps.entries()) {
    const { launches: lowered, workspace } = lowering.launches(step, plan.values);
    if (workspace > (step.workspace?.bytes ?? 0)) {
      throw new Error(`a step of ${plan.name} was planned without its ${workspace} bytes of workspace`);
    }
    for (const { routine, operands } of lowered) {
      if (routine.tasks === 0) continue;
      launches.push({ step, position, routine, operands: operands.map((operand) => resolve(step, operand)) });
    }
  }
  return { launches, constantOffsets, constantBytes, placeOf };
}

function loadRoutines(pool: ThreadPool, routines: readonly Routine[]): LoadedModule {
  const primitives = new Map(
    routines.flatMap(({ primitives = [] }) =>
      primitives.map((primitive) => [primitive.id, primitive] as const)
    ),
  );
  return pool.load(assemble(routines), primitivesText([...primitives.values()]));
}

function locationOf(plan: Plan, value: ValueId): Location {
  const location = plan.locations[value];
  if (location === undefined) throw new Error(`value ${value} of ${plan.name} is used but has no location`);
  return location;
}

/** A plan as one WebAssembly module and one list of launch records. */
export class CpuExecutable implements Executable {
  readonly #plan: Plan;
  readonly #host: Host;
  readonly #module: LoadedModule | undefined;
  /** Its blocks of the memory. */
  readonly #blocks: { readonly address: number; readonly bytes: number }[] = [];
  /** The address of one block: slots, then a pointer to each launch record, then the records. */
  readonly #block: number;
  readonly #constants: number;
  readonly #placeOf: (value: ValueId) => Place;
  readonly #exchanges: Exchanges;
  /** Steps before which there is something to exchange, by the launch that comes next. */
  readonly #stops: ReadonlyMap<number, readonly number[]>;
  /** Bytes of its literal arrays, and of the slots of its messages. */
  readonly heldBytes: number;
  readonly #launches: readonly ResolvedLaunch[];
  readonly #alone: boolean;
  #disposed = false;

  constructor(plan: Plan, host: Host) {
    this.#plan = plan;
    this.#host = host;
    const { launches, constantOffsets, constantBytes, placeOf } = lowerPlan(plan, host.lowering);
    this.#launches = launches;
    this.#placeOf = placeOf;
    this.#alone = launches.every(({ routine }) => routine.tasks === 1);
    const { memory, pool } = host;
    let slotBytes = 0;
    const known = new Map<string, number>();
    const routines: Routine[] = [];
    /** The table entry of each launch. */
    const entries = launches.map(({ routine }) => {
      const entry = known.get(routine.key) ?? routines.push(routine) - 1;
      known.set(routine.key, entry);
      return entry;
    });
    const slots = FIRST_INPUT_SLOT + plan.inputs.length + plan.outputs.length;
    const recordBytes = launches.map(({ operands }) =>
      record.operands + operands.length * record.operandBytes
    );
    const blockBytes = (slots + launches.length) * 4 + recordBytes.reduce((sum, bytes) => sum + bytes, 0);
    try {
      this.#constants = this.#allocate(constantBytes, "constants");
      this.#block = this.#allocate(blockBytes, "steps");
      pool.reserveScratch(routines.reduce((most, { scratch }) => Math.max(most, scratch), 0));
      this.#exchanges = new Exchanges(plan, host.communicators, (bytes) => {
        const size = Math.ceil(bytes / SLOT_ALIGNMENT) * SLOT_ALIGNMENT;
        slotBytes += size;
        return this.#slot(this.#allocate(size, "messages"), size);
      });
      this.#module = launches.length > 0 ? loadRoutines(pool, routines) : undefined;
    } catch (error) {
      this.#free();
      throw error;
    }
    this.heldBytes = constantBytes + slotBytes;
    this.#stops = Map.groupBy(this.#exchanges.stops, (position) => {
      const next = launches.findIndex((launch) => launch.position >= position);
      return next < 0 ? launches.length : next;
    });
    for (const [index, { data }] of plan.constants.entries()) {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      memory.bytes.set(bytes, this.#constants + constantOffsets[index]);
    }
    const { words } = memory;
    let at = this.#block + (slots + launches.length) * 4;
    for (const [index, { routine, operands }] of launches.entries()) {
      words[this.#block / 4 + slots + index] = at;
      const base = at / 4;
      words[base + record.entry / 4] = entries[index];
      words[base + record.tasks / 4] = routine.tasks;
      for (const [i, { slot, offset }] of operands.entries()) {
        const pair = base + (record.operands + i * record.operandBytes) / 4;
        words[pair] = this.#block + slot * 4;
        words[pair + 1] = offset;
      }
      at += recordBytes[index];
    }
  }

  #allocate(bytes: number, what: string): number {
    if (bytes === 0) return 0;
    const address = this.#host.memory.allocate(bytes, `the ${what} of ${this.#plan.name}`);
    this.#blocks.push({ address, bytes });
    return address;
  }

  #free(): void {
    for (const { address, bytes } of this.#blocks.splice(0)) this.#host.memory.free(address, bytes);
  }

  #slot(address: number, bytes: number): Slot {
    return () => this.#host.memory.bytes.subarray(address, address + bytes);
  }

  run(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]): void {
    const records = this.#bind(inputs, outputs);
    const end = this.#launches.length;
    let from = 0;
    for (const [launch, positions] of this.#stops) {
      this.#issue(records, from, launch);
      this.#exchange(positions);
      from = launch;
    }
    this.#issue(records, from, end);
    this.#exchanges.finishRun();
  }

  /** Runs the launches from `from` to `to`, all at once if no transfer is under way. */
  #issue(records: number, from: number, to: number): void {
    while (from < to) {
      const { busy } = this.#exchanges;
      const next = busy ? Math.min(to, from + LAUNCHES_PER_POLL) : to;
      this.#launch(records, from, next);
      if (busy) this.#exchanges.poll();
      from = next;
    }
  }

  /** Runs the launches from `from` to `to`. */
  #launch(records: number, from: number, to: number): void {
    const [module, first] = [this.#module, this.#launches[from]];
    if (module === undefined || first === undefined) return;
    this.#host.pool.run(module, records + from * 4, to - from, first.routine.tasks, this.#alone);
  }

  /** Exchanges what there is to exchange before the steps at `positions`. */
  #exchange(positions: readonly number[] = []): void {
    const memory: HostMemory = {
      bytes: (value) => {
        const { slot, offset } = this.#placeOf(value);
        const { words, bytes } = this.#host.memory;
        const address = (words[this.#block / 4 + slot] >>> 0) + offset; // addresses from 2 GiB up are negative words
        return bytes.subarray(address, address + bytesOf(this.#plan.values[value]));
      },
    };
    for (const position of positions) this.#exchanges.stop(position, memory);
  }

  launches(
    inputs: readonly DeviceBuffer[],
    outputs: readonly (DeviceBuffer | undefined)[],
  ): readonly PlanLaunch[] {
    const records = this.#bind(inputs, outputs);
    const end = this.#launches.length;
    return this.#launches.map(({ step, routine: { key, tasks } }, index) => ({
      step,
      code: key,
      issue: () => {
        this.#exchange(this.#stops.get(index));
        const module = this.#module;
        if (module !== undefined) {
          this.#host.pool.run(module, records + index * 4, 1, tasks, tasks === 1);
        }
        if (index < end - 1) return;
        this.#exchange(this.#stops.get(end));
        this.#exchanges.finishRun();
      },
    }));
  }

  /** Puts the addresses of these buffers into their slots; returns that of the pointers to the launch records. */
  #bind(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]): number {
    const plan = this.#plan;
    if (this.#disposed) throw new Error(`${plan.name} has been disposed`);
    if (inputs.length !== plan.inputs.length || outputs.length !== plan.outputs.length) {
      throw new Error(`${plan.name} takes ${plan.inputs.length} inputs and ${plan.outputs.length} outputs`);
    }
    const { memory } = this.#host;
    const slots = this.#block / 4;
    const { words } = memory;
    const put = (slot: number, buffer: DeviceBuffer, aval: Aval) => {
      if (buffer.bytes < bytesOf(aval)) {
        throw new Error(`${plan.name}: a buffer of ${buffer.bytes} bytes is too small for ${bytesOf(aval)}`);
      }
      words[slots + slot] = this.#host.addressOf(buffer);
    };
    words[slots + ARENA_SLOT] = this.#host.arena();
    words[slots + CONSTANT_SLOT] = this.#constants;
    for (const [i, buffer] of inputs.entries()) {
      put(FIRST_INPUT_SLOT + i, buffer, plan.values[plan.inputs[i].value]);
    }
    for (const [i, buffer] of outputs.entries()) {
      if (buffer !== undefined) {
        put(FIRST_INPUT_SLOT + inputs.length + i, buffer, plan.values[plan.outputs[i].value]);
      } else if (plan.donors[i] < 0) throw new Error(`${plan.name}: result ${i} has no buffer`);
    }
    return this.#block + (FIRST_INPUT_SLOT + inputs.length + outputs.length) * 4;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#exchanges.dispose();
    if (this.#module !== undefined) this.#host.pool.unload(this.#module);
    this.#host.disposed(this);
    this.#free();
  }
}
