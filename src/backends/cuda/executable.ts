import { driverFlag } from "../../../ffi/driver.ts";
import { LibraryError } from "../../../ffi/status.ts";
import type { Plan } from "../../compile/plan.ts";
import { LocalgradError } from "../../errors.ts";
import { bytesOf } from "../../trace/dtype.ts";
import type { DeviceBuffer, Executable } from "../backend.ts";
import type { Card } from "./card.ts";
import type { Place } from "./place.ts";
import type { Recording } from "./recording.ts";

/** The arena that all plans share; it moves when it grows. */
export interface Arena {
  /** Its address now. */
  readonly address: bigint;
}

/** What an executable is made of. */
export interface Parts {
  readonly card: Card;
  readonly arena: Arena;
  readonly plan: Plan;
  readonly constants: readonly bigint[];
  readonly recording: Recording;
  /** The address of a buffer of the backend's. */
  readonly addressOf: (buffer: DeviceBuffer) => bigint;
  /** Whether the second run is captured as a CUDA graph, and launched as one from then on. */
  readonly graphs: boolean;
  /** Frees what is shared. */
  readonly release: () => void;
}

/** A captured run, and the addresses it is bound to. */
interface Captured {
  readonly executable: bigint;
  /** Nodes: launches and copies it stands for. */
  readonly nodes: number;
  readonly inputs: readonly bigint[];
  readonly arena: bigint;
}

/** After as many captures a plan's addresses are taken to change for good, and it runs without a graph. */
const MAX_CAPTURES = 8;

/**
 * A compiled plan. The first run issues its tasks one by one, which also loads what libraries load lazily. The second
 * is captured as a CUDA graph, and every run from then on is one launch. A graph holds addresses: an input that keeps
 * its address from run to run, as donated state does, is bound as it is; another gets a slot that it is copied to; a
 * result without a donor is copied out of a slot. Other addresses or a grown arena capture anew.
 */
export class CudaExecutable implements Executable {
  readonly #parts: Parts;
  /** Inputs that a donated result is written over: those are never copied. */
  readonly #written: ReadonlySet<number>;
  readonly #inputSlots = new Map<number, bigint>();
  readonly #outputSlots: (bigint | undefined)[];
  #last: readonly bigint[] | undefined;
  #captured: Captured | undefined;
  #captures = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#written = new Set(parts.plan.donors.filter((donor) => donor >= 0));
    this.#outputSlots = parts.plan.donors.map(() => undefined);
  }

  /** Launches and copies that one run of the graph stands for; undefined before it is captured. */
  get graphNodes(): number | undefined {
    return this.#captured?.nodes;
  }

  run(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]): void {
    const { addressOf, graphs } = this.#parts;
    const given = inputs.map(addressOf);
    const made = outputs.map((buffer) => buffer === undefined ? undefined : addressOf(buffer));
    const previous = this.#last;
    this.#last = given;
    if (!graphs || previous === undefined || this.#captures > MAX_CAPTURES) return this.#issue(given, made);
    if (!this.#fits(given)) this.#capture(given, previous);
    this.#launch(given, made);
  }

  dispose(): void {
    const { card, recording, constants, release } = this.#parts;
    // Modules and descriptors must outlive the work that uses them. What a lost card says is of no use any more.
    card.driver.cuStreamSynchronize(card.stream);
    this.#forget();
    for (const slot of [...this.#inputSlots.values(), ...this.#outputSlots]) {
      if (slot !== undefined) card.free(slot);
    }
    this.#inputSlots.clear();
    this.#outputSlots.fill(undefined);
    recording.dispose();
    for (const constant of constants) card.free(constant);
    release();
  }

  /** Whether the graph there is can be launched for these inputs. */
  #fits(given: readonly bigint[]): boolean {
    const captured = this.#captured;
    return captured !== undefined && captured.arena === this.#parts.arena.address &&
      given.every((address, i) => this.#inputSlots.has(i) || address === captured.inputs[i]);
  }

  #issue(inputs: readonly bigint[], outputs: readonly (bigint | undefined)[]): void {
    const { recording } = this.#parts;
    recording.bind((place) => this.#address(place, inputs, outputs));
    recording.run();
  }

  #address(
    { kind, index, offset }: Place,
    inputs: readonly bigint[],
    outputs: readonly (bigint | undefined)[],
  ): bigint {
    const { arena, constants } = this.#parts;
    const base = kind === "arena"
      ? arena.address
      : kind === "constant"
      ? constants[index]
      : kind === "input"
      ? inputs[index]
      : outputs[index]!;
    return base + BigInt(offset);
  }

  /** Records a run as a graph. Nothing is executed by this. */
  #capture(given: readonly bigint[], previous: readonly bigint[]): void {
    const { card, plan, recording, arena } = this.#parts;
    const { driver, stream } = card;
    this.#forget();
    this.#captures++;
    given.forEach((address, i) => {
      if (address !== previous[i] && !this.#written.has(i) && !this.#inputSlots.has(i)) {
        this.#inputSlots.set(i, card.allocate(bytesOf(plan.values[plan.inputs[i].value])));
      }
    });
    plan.donors.forEach((donor, i) => {
      if (donor < 0) this.#outputSlots[i] ??= card.allocate(bytesOf(plan.values[plan.outputs[i].value]));
    });
    const inputs = given.map((address, i) => this.#inputSlots.get(i) ?? address);
    // Descriptors for these addresses are made before the capture, in which nothing may be allocated.
    recording.bind((place) => this.#address(place, inputs, this.#outputSlots));
    const graph = new BigUint64Array(1), out = new BigUint64Array(1);
    card.check(
      driver.cuStreamBeginCapture_v2(stream, driverFlag.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
      `capturing ${plan.name}`,
    );
    try {
      recording.run();
    } catch (error) {
      driver.cuStreamEndCapture(stream, graph); // leaves the stream usable
      if (graph[0] !== 0n) driver.cuGraphDestroy(graph[0]);
      if (!(error instanceof LibraryError)) throw error;
      const instead = "without a graph (graphs: false, --no-graph) it may run";
      throw new LocalgradError(`${plan.name} cannot be captured: ${error.message}; ${instead}`, {
        cause: error,
      });
    }
    card.check(driver.cuStreamEndCapture(stream, graph), `capturing ${plan.name}`);
    try {
      card.check(driver.cuGraphGetNodes(graph[0], 0n, out), "counting a graph's nodes");
      const nodes = Number(out[0]);
      card.check(
        driver.cuGraphInstantiateWithFlags(out, graph[0], 0n),
        `instantiating the graph of ${plan.name}`,
      );
      this.#captured = { executable: out[0], nodes, inputs, arena: arena.address };
    } finally {
      driver.cuGraphDestroy(graph[0]);
    }
  }

  #launch(given: readonly bigint[], made: readonly (bigint | undefined)[]): void {
    const { card, plan } = this.#parts;
    const { driver, stream } = card;
    const copy = (to: bigint, from: bigint, value: number): void => {
      const bytes = bytesOf(plan.values[value]);
      if (bytes === 0) return;
      card.check(driver.cuMemcpyDtoDAsync_v2(to, from, BigInt(bytes), stream), "copying an argument");
    };
    for (const [i, slot] of this.#inputSlots) copy(slot, given[i], plan.inputs[i].value);
    card.check(driver.cuGraphLaunch(this.#captured!.executable, stream), `launching ${plan.name}`);
    made.forEach((address, i) => {
      if (address !== undefined) copy(address, this.#outputSlots[i]!, plan.outputs[i].value);
    });
  }

  #forget(): void {
    if (this.#captured !== undefined) this.#parts.card.driver.cuGraphExecDestroy(this.#captured.executable);
    this.#captured = undefined;
  }
}
