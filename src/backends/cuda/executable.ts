import { driverFlag } from "../../../ffi/driver.ts";
import { outU64 } from "../../../ffi/memory.ts";
import { LibraryError } from "../../../ffi/status.ts";
import type { Plan } from "../../compile/plan.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { bytesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import type { DeviceBuffer, Executable } from "../backend.ts";
import type { Arena } from "./arena.ts";
import type { CudaBuffer } from "./buffer.ts";
import type { Card } from "./card.ts";
import type { Place } from "../place.ts";
import type { Recording } from "./recording.ts";
import type { Uploads } from "./uploads.ts";

/** The parts of an executable. */
export interface Parts {
  readonly card: Card;
  readonly uploads: Uploads;
  readonly arena: Arena;
  readonly plan: Plan;
  readonly constants: readonly bigint[];
  readonly recording: Recording;
  /** Narrows a buffer to one of this backend; throws for any other. */
  readonly own: (buffer: DeviceBuffer) => CudaBuffer;
  /** Captures the second run as a CUDA graph, and launches the graph from then on. */
  readonly graphs: boolean;
  /** Releases what plans share: the kernels. */
  readonly release: () => void;
}

/** A captured graph, and the addresses it is bound to. */
interface Captured {
  readonly executable: bigint;
  /** The number of nodes: launches and copies. */
  readonly nodes: number;
  readonly inputs: readonly bigint[];
  readonly arena: bigint;
}

/** After this many captures, stop using graphs for a plan: its addresses keep changing. */
const MAX_CAPTURES = 8;

/** An input of a run. */
interface Input {
  readonly address: bigint;
  /** The number of uploads to it so far. */
  readonly uploads: number;
}

/**
 * A compiled plan. The first run issues its launches one by one, which also makes libraries load what they load lazily.
 * The second run is captured as a CUDA graph, and every run from then on launches the graph. A graph contains addresses.
 * An input that keeps its address from run to run, as donated state does, is bound directly. Any other input, and one
 * that the host fills before every run, is copied to a slot; a result without a donor is copied out of a slot. If bound
 * addresses change or the arena grows, the plan is captured again.
 *
 * A batch from the host is thus double-buffered: it has the buffer that it is uploaded to and the graph's slot. The copy
 * from one to the other precedes the launch, and once it is done, the next batch is uploaded while the graph runs. Two
 * graphs, bound to two buffers in turn, would save that copy (12 MiB for 1024 images of 32 × 32: an estimated 8 µs at
 * 3 TB/s) but double the captures, graphs and descriptors. The copy is not a node of the graph, since an event must be
 * recorded right after it.
 */
export class CudaExecutable implements Executable {
  readonly #parts: Parts;
  /** The indices of donated inputs, which results overwrite: those are never copied to a slot. */
  readonly #donated: ReadonlySet<number>;
  readonly #inputSlots = new Map<number, bigint>();
  readonly #outputSlots: (bigint | undefined)[];
  #last: readonly Input[] | undefined;
  #captured: Captured | undefined;
  #captures = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#donated = new Set(parts.plan.donors.filter((donor) => donor >= 0));
    this.#outputSlots = parts.plan.donors.map((): undefined => undefined);
  }

  /** The number of launches and copies in the graph; undefined before it is captured. */
  get graphNodes(): number | undefined {
    return this.#captured?.nodes;
  }

  run(inputs: readonly DeviceBuffer[], outputs: readonly (DeviceBuffer | undefined)[]): void {
    const { own, uploads, graphs, arena, plan, recording } = this.#parts;
    arena.reserve(plan.arenaBytes, plan.name);
    const given = inputs.map(own);
    const made = outputs.map((buffer) => buffer === undefined ? undefined : own(buffer));
    const previous = this.#last;
    this.#last = given.map(({ address, uploads }) => ({ address, uploads }));
    uploads.join();
    for (const buffer of [...given, ...made]) if (buffer !== undefined) buffer.copied = false;
    recording.before();
    if (!graphs || previous === undefined || this.#captures > MAX_CAPTURES) this.#issue(given, made);
    else this.#launch(this.#fitting(given) ?? this.#capture(given, previous), given, made);
    recording.after();
  }

  dispose(): void {
    const { card, recording, constants, release } = this.#parts;
    // Modules and descriptors must outlive the work that uses them. The status is ignored: the card may be lost.
    card.drain();
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

  /** The captured graph, if it can be launched for these inputs. */
  #fitting(given: readonly CudaBuffer[]): Captured | undefined {
    const captured = this.#captured;
    const fits = captured !== undefined && captured.arena === this.#parts.arena.address &&
      given.every(({ address }, i) => this.#inputSlots.has(i) || address === captured.inputs[i]);
    return fits ? captured : undefined;
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
    const { arena, constants, plan } = this.#parts;
    const bases = { arena: [arena.address], constant: constants, input: inputs, output: outputs };
    const base = bases[kind][index];
    if (base === undefined) throw new Error(`cuda: ${plan.name}: a run has no address for ${kind} ${index}`);
    return base + BigInt(offset);
  }

  /** Captures a run as a graph without executing it. */
  #capture(given: readonly CudaBuffer[], previous: readonly Input[]): Captured {
    const { card, plan, recording, arena } = this.#parts;
    this.#forget();
    this.#captures++;
    const allocate = (value: ValueId): bigint => card.allocate(bytesOf(at(plan.values, value)));
    given.forEach(({ address, uploads }, i) => {
      const last = at(previous, i);
      const changes = address !== last.address || uploads !== last.uploads;
      if (changes && !this.#donated.has(i) && !this.#inputSlots.has(i)) {
        this.#inputSlots.set(i, allocate(at(plan.inputs, i).value));
      }
    });
    plan.donors.forEach((donor, i) => {
      if (donor < 0) this.#outputSlots[i] ??= allocate(at(plan.outputs, i).value);
    });
    const inputs = given.map(({ address }, i) => this.#inputSlots.get(i) ?? address);
    // Binding makes descriptors, and nothing may be allocated during the capture.
    recording.bind((place) => this.#address(place, inputs, this.#outputSlots));
    try {
      return this.#captured = { ...this.#graph(), inputs, arena: arena.address };
    } catch (error) {
      if (!(error instanceof LibraryError)) throw error;
      const remedy = "try it without a graph (graphs: false, or --no-graph)";
      throw new LocalgradError(`${plan.name} cannot be captured: ${error.message}; ${remedy}`, {
        cause: error,
      });
    }
  }

  /** Captures the launches and instantiates their graph. */
  #graph(): Pick<Captured, "executable" | "nodes"> {
    const { card, plan, recording } = this.#parts;
    const { driver, stream } = card;
    const graph = outU64(), out = outU64();
    const doing = `capturing ${plan.name}`;
    card.check(
      driver.cuStreamBeginCapture_v2(stream, driverFlag.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
      doing,
    );
    try {
      let ended: number;
      try {
        recording.run(true);
      } finally { // even after an error, so that the stream remains usable
        ended = driver.cuStreamEndCapture(stream, graph.buffer);
      }
      card.check(ended, doing); // a library may have done what a capture forbids without an error of its own
      card.check(driver.cuGraphGetNodes(graph.value, 0n, out.buffer), "counting a graph's nodes");
      const nodes = Number(out.value);
      card.check(
        driver.cuGraphInstantiateWithFlags(out.buffer, graph.value, 0n),
        `instantiating the graph of ${plan.name}`,
      );
      return { executable: out.value, nodes };
    } finally {
      if (graph.value !== 0n) driver.cuGraphDestroy(graph.value);
    }
  }

  #launch(captured: Captured, given: readonly CudaBuffer[], made: readonly (CudaBuffer | undefined)[]): void {
    const { card, uploads, plan } = this.#parts;
    const { driver, stream } = card;
    const copy = (to: bigint, from: bigint, value: ValueId): void => {
      const bytes = bytesOf(at(plan.values, value));
      if (bytes === 0) return;
      card.check(driver.cuMemcpyDtoDAsync_v2(to, from, BigInt(bytes), stream), "copying an argument");
    };
    for (const [i, slot] of this.#inputSlots) copy(slot, at(given, i).address, at(plan.inputs, i).value);
    // A buffer that is two arguments may be copied for one and bound for the other: then the graph uses it to the end.
    const bound = new Set(given.filter((_, i) => !this.#inputSlots.has(i)));
    uploads.copied(
      [...this.#inputSlots.keys()].map((i) => at(given, i)).filter((buffer) => !bound.has(buffer)),
    );
    card.check(driver.cuGraphLaunch(captured.executable, stream), `launching ${plan.name}`);
    made.forEach((buffer, i) => {
      const slot = this.#outputSlots[i];
      if (buffer !== undefined && slot !== undefined) copy(buffer.address, slot, at(plan.outputs, i).value);
    });
  }

  #forget(): void {
    if (this.#captured !== undefined) this.#parts.card.driver.cuGraphExecDestroy(this.#captured.executable);
    this.#captured = undefined;
  }
}
