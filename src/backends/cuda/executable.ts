import { driverFlag } from "../../../ffi/driver.ts";
import { LibraryError } from "../../../ffi/status.ts";
import type { Plan } from "../../compile/plan.ts";
import { LocalgradError } from "../../base/errors.ts";
import { bytesOf } from "../../trace/dtype.ts";
import type { DeviceBuffer, Executable } from "../backend.ts";
import type { Arena } from "./arena.ts";
import type { CudaBuffer } from "./buffer.ts";
import type { Card } from "./card.ts";
import type { Place } from "../place.ts";
import type { Recording } from "./recording.ts";
import type { Uploads } from "./uploads.ts";

/** What an executable is made of. */
export interface Parts {
  readonly card: Card;
  readonly uploads: Uploads;
  readonly arena: Arena;
  readonly plan: Plan;
  readonly constants: readonly bigint[];
  readonly recording: Recording;
  /** A buffer of the backend's, as what it is; an error for any other. */
  readonly own: (buffer: DeviceBuffer) => CudaBuffer;
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

/** What a run was given. */
interface Given {
  readonly address: bigint;
  /** How often the host had filled it. */
  readonly uploads: number;
}

/**
 * A compiled plan. The first run issues its tasks one by one, which also loads what libraries load lazily. The second
 * is captured as a CUDA graph, and every run from then on is one launch. A graph holds addresses: an input that keeps
 * its address from run to run, as donated state does, is bound as it is; another, or one that the host fills anew for
 * every run, gets a slot that it is copied to; a result without a donor is copied out of a slot. Other addresses or a
 * grown arena capture anew.
 *
 * So a batch that comes from the host has two slots in turn, the buffer it is uploaded to and the graph's own: as soon
 * as the copy from one to the other is done, which comes before the launch, the next batch is uploaded while the graph
 * runs. Two graphs, bound to two buffers in turn, would save that copy (12 MiB for 1024 images of 32 × 32: some 8 µs at
 * 3 TB/s, by reckoning), and cost twice the captures, graphs and descriptors; one graph with a copy was chosen. The copy
 * is no node of the graph, since an event behind it must be recorded before the rest is done.
 */
export class CudaExecutable implements Executable {
  readonly #parts: Parts;
  /** Inputs that a donated result is written over: those are never copied. */
  readonly #written: ReadonlySet<number>;
  readonly #inputSlots = new Map<number, bigint>();
  readonly #outputSlots: (bigint | undefined)[];
  #last: readonly Given[] | undefined;
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
    const { own, uploads, graphs, arena, plan } = this.#parts;
    arena.reserve(plan.arenaBytes, plan.name);
    const given = inputs.map(own);
    const made = outputs.map((buffer) => buffer === undefined ? undefined : own(buffer));
    const previous = this.#last;
    this.#last = given.map(({ address, uploads }) => ({ address, uploads }));
    uploads.join();
    for (const buffer of [...given, ...made]) if (buffer !== undefined) buffer.copied = false;
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
  #fits(given: readonly CudaBuffer[]): boolean {
    const captured = this.#captured;
    return captured !== undefined && captured.arena === this.#parts.arena.address &&
      given.every(({ address }, i) => this.#inputSlots.has(i) || address === captured.inputs[i]);
  }

  #issue(given: readonly CudaBuffer[], made: readonly (CudaBuffer | undefined)[]): void {
    const { recording } = this.#parts;
    const inputs = given.map(({ address }) => address), outputs = made.map((buffer) => buffer?.address);
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

  /** Makes a run a graph. Nothing is executed by this. */
  #capture(given: readonly CudaBuffer[], previous: readonly Given[]): void {
    const { card, plan, recording, arena } = this.#parts;
    this.#forget();
    this.#captures++;
    given.forEach(({ address, uploads }, i) => {
      const changes = address !== previous[i].address || uploads !== previous[i].uploads;
      if (changes && !this.#written.has(i) && !this.#inputSlots.has(i)) {
        this.#inputSlots.set(i, card.allocate(bytesOf(plan.values[plan.inputs[i].value])));
      }
    });
    plan.donors.forEach((donor, i) => {
      if (donor < 0) this.#outputSlots[i] ??= card.allocate(bytesOf(plan.values[plan.outputs[i].value]));
    });
    const inputs = given.map(({ address }, i) => this.#inputSlots.get(i) ?? address);
    // Descriptors for these addresses are made before the capture, in which nothing may be allocated.
    recording.bind((place) => this.#address(place, inputs, this.#outputSlots));
    try {
      this.#captured = { ...this.#graph(), inputs, arena: arena.address };
    } catch (error) {
      if (!(error instanceof LibraryError)) throw error;
      const instead = "without a graph (graphs: false, --no-graph) it may run";
      throw new LocalgradError(`${plan.name} cannot be captured: ${error.message}; ${instead}`, {
        cause: error,
      });
    }
  }

  /** The tasks as an executable graph. */
  #graph(): Pick<Captured, "executable" | "nodes"> {
    const { card, plan, recording } = this.#parts;
    const { driver, stream } = card;
    const graph = new BigUint64Array(1), out = new BigUint64Array(1);
    const doing = `capturing ${plan.name}`;
    card.check(
      driver.cuStreamBeginCapture_v2(stream, driverFlag.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
      doing,
    );
    try {
      let ended: number;
      try {
        recording.run();
      } finally { // whatever happened: it leaves the stream usable
        ended = driver.cuStreamEndCapture(stream, graph);
      }
      card.check(ended, doing); // where a library did what a capture does not allow, and said nothing
      card.check(driver.cuGraphGetNodes(graph[0], 0n, out), "counting a graph's nodes");
      const nodes = Number(out[0]);
      card.check(
        driver.cuGraphInstantiateWithFlags(out, graph[0], 0n),
        `instantiating the graph of ${plan.name}`,
      );
      return { executable: out[0], nodes };
    } finally {
      if (graph[0] !== 0n) driver.cuGraphDestroy(graph[0]);
    }
  }

  #launch(given: readonly CudaBuffer[], made: readonly (CudaBuffer | undefined)[]): void {
    const { card, uploads, plan } = this.#parts;
    const { driver, stream } = card;
    const copy = (to: bigint, from: bigint, value: number): void => {
      const bytes = bytesOf(plan.values[value]);
      if (bytes === 0) return;
      card.check(driver.cuMemcpyDtoDAsync_v2(to, from, BigInt(bytes), stream), "copying an argument");
    };
    for (const [i, slot] of this.#inputSlots) copy(slot, given[i].address, plan.inputs[i].value);
    // One that is an argument twice, and was not copied both times, is in use to the end.
    const bound = new Set(given.filter((_, i) => !this.#inputSlots.has(i)));
    uploads.copied([...this.#inputSlots.keys()].map((i) => given[i]).filter((buffer) => !bound.has(buffer)));
    card.check(driver.cuGraphLaunch(this.#captured!.executable, stream), `launching ${plan.name}`);
    made.forEach((buffer, i) => {
      if (buffer !== undefined) copy(buffer.address, this.#outputSlots[i]!, plan.outputs[i].value);
    });
  }

  #forget(): void {
    if (this.#captured !== undefined) this.#parts.card.driver.cuGraphExecDestroy(this.#captured.executable);
    this.#captured = undefined;
  }
}
