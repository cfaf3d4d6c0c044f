import { LibraryError } from "../../../ffi/status.ts";
import { at } from "../../base/at.ts";
import type { Plan, ProductPrecision } from "../../compile/plan.ts";
import { bytesOf } from "../../trace/dtype.ts";
import { type Place, placeOf } from "../place.ts";
import { Branches, scheduleLaunches } from "./branches.ts";
import type { Card } from "./card.ts";
import {
  type BoundConv,
  type Convolver,
  convSpecOf,
  type ConvTensors,
  describeConv,
  type Role,
  roles,
} from "./conv.ts";
import { KernelLaunches } from "./kernel_launches.ts";
import type { Addresses, Launch, Recorded } from "./launch.ts";
import { describeMatmul, matmulSpecOf, type MatmulTensors } from "./matmul.ts";
import type { MatrixProducts } from "./matmul_cublaslt.ts";
import type { Groups } from "./nccl/groups.ts";
import { PlanExchanges } from "./nccl/record.ts";
import type { Profiler } from "./profiler.ts";

/** The parts of a backend that issue launches. */
export interface Tools {
  readonly card: Card;
  readonly products: MatrixProducts;
  readonly convolver: Convolver;
  /** The precision of products of f32. */
  readonly precision: ProductPrecision;
  /** The groups of processes, on a device that has any. */
  readonly groups?: Groups;
  /** A second stream, on a device where work overlaps. */
  readonly second?: bigint;
  /** Times each launch, if profiling was asked for. */
  readonly profiler?: Profiler;
}

/** A plan's launches, ready to be issued in order without allocating anything. */
export class Recording {
  readonly #recorded: readonly Recorded[];
  readonly #run: (mayWait: boolean) => void;
  /** True if a run sends messages: they leave after all of it was issued, and other processes may wait for them. */
  readonly #sends: boolean;
  readonly #exchanges: PlanExchanges | undefined;
  /** What captures the launches on two streams, if the plan has a schedule. */
  readonly #branches: Branches | undefined;
  /** Issues everything into a graph. */
  readonly #capture: () => void;

  /** `functions` are the handles of the kernels, one for each kernel launch, in order. */
  constructor(
    tools: Tools,
    plan: Plan,
    launches: readonly Launch[],
    functions: readonly bigint[],
  ) {
    const kernels = new KernelLaunches(tools.card, functions);
    const { groups } = tools;
    const isAlone = !launches.some(({ kind }) => kind === "exchange");
    this.#exchanges = groups === undefined || isAlone
      ? undefined
      : new PlanExchanges(tools.card, groups, plan);
    const exchanges = (): PlanExchanges => {
      if (this.#exchanges === undefined) throw new Error(`cuda: ${plan.name} exchanges data without groups`);
      return this.#exchanges;
    };
    const record = (launch: Launch): Recorded => {
      switch (launch.kind) {
        case "kernel":
          return kernels.record(plan, launch);
        case "conv":
          return recordConv(tools, plan, launch);
        case "matmul":
          return recordMatmul(tools, plan, launch);
        case "zeros":
          return recordZeros(tools, plan, launch);
        case "copy":
          return recordCopy(tools, plan, launch);
        case "exchange":
          return exchanges().start(launch.pending, launch.step);
        case "join":
          return exchanges().join(launch.pending);
      }
    };
    let recorded: readonly Recorded[];
    try {
      recorded = launches.map(record);
    } catch (error) {
      this.#exchanges?.dispose();
      throw error;
    }
    const { profiler, card } = tools;
    this.#recorded = recorded;
    this.#sends = plan.steps.some((step) => step.kind === "op" && step.instruction.op === "send");
    const issue = (
      launch: Recorded,
      index: number,
      mayWait: boolean,
      stream: bigint = card.stream,
    ): void => {
      try {
        launch.run(mayWait, stream);
      } catch (error) {
        // A library reports an earlier launch's fault as a failure of its own.
        if (error instanceof LibraryError && error.library !== "CUDA") card.throwFault();
        throw error;
      }
      card.launched(() => {
        const { step } = at(launches, index);
        const scope = step.kind === "kernel" ? step.scope : step.instruction.scope;
        const where = scope === "" ? "" : `, in ${scope}`;
        return `launch ${index + 1} of ${launches.length} of ${plan.name}${where}: ${launch.describe()}`;
      });
    };
    this.#run = profiler === undefined
      ? (mayWait) => recorded.forEach((launch, index) => issue(launch, index, mayWait))
      : (mayWait) => profiler.run(plan, launches, (index) => issue(at(recorded, index), index, mayWait));
    const branches = plan.schedule === undefined || tools.second === undefined
      ? undefined
      : new Branches(card, tools.second, scheduleLaunches(plan, launches));
    this.#branches = branches;
    this.#capture = branches === undefined
      ? () => this.#run(false)
      : () => branches.capture((index, stream) => issue(at(recorded, index), index, false, stream));
  }

  /** Binds the next runs to addresses. */
  bind(addresses: Addresses): void {
    for (const launch of this.#recorded) launch.bind(addresses);
  }

  /** Precedes each run, outside of a capture. */
  before(): void {
    this.#exchanges?.before();
  }

  /** Issues everything; into a graph if the stream is being captured. */
  run(isCaptured: boolean = false): void {
    const issue = () => isCaptured ? this.#capture() : this.#run(!this.#sends);
    if (this.#exchanges === undefined) issue();
    else this.#exchanges.run(isCaptured, issue);
  }

  /** Follows each run, outside of a capture. */
  after(): void {
    this.#exchanges?.after();
  }

  /** Frees the descriptors of library calls. */
  dispose(): void {
    for (const launch of this.#recorded) launch.dispose?.();
    this.#exchanges?.dispose();
    this.#branches?.dispose();
  }
}

function recordConv(
  { convolver, precision }: Tools,
  plan: Plan,
  { instruction, step, scratch, epilogue }: Extract<Launch, { kind: "conv" }>,
): Recorded {
  const spec = convSpecOf(instruction, plan.values, precision, epilogue?.kind);
  const operands = [...instruction.inputs, epilogue?.output ?? instruction.output];
  const placeFor = (role: Role): Place => placeOf(plan, step, at(operands, roles[spec.op].indexOf(role)));
  const [image, filter, result] = [placeFor("image"), placeFor("filter"), placeFor("result")];
  const bias = epilogue?.bias === undefined ? undefined : placeOf(plan, step, epilogue.bias);
  let bound: BoundConv | undefined;
  let last = "";
  return {
    describe: () => describeConv(spec),
    bind(addresses) {
      const tensors: ConvTensors = {
        ...{ image: addresses(image), filter: addresses(filter), result: addresses(result) },
        ...(bias === undefined ? {} : { bias: addresses(bias) }),
      };
      const workspace = addresses({ kind: "arena", index: 0, offset: scratch.offset });
      const key = `${Object.values(tensors)} ${workspace}`;
      if (key === last) return;
      const next = convolver.bind(spec, tensors, workspace, scratch.bytes);
      bound?.dispose(); // after the new binding, so that the plans of both are kept
      bound = next;
      last = key;
    },
    run: (mayWait, stream) => {
      if (bound === undefined) throw new Error("cuda: a convolution must be bound before it runs");
      convolver.useStream(stream);
      bound.run(mayWait);
    },
    dispose: () => bound?.dispose(),
  };
}

function recordMatmul(
  { products, precision }: Tools,
  plan: Plan,
  { instruction, step, epilogue }: Extract<Launch, { kind: "matmul" }>,
): Recorded {
  const spec = matmulSpecOf(instruction, plan.values, precision, epilogue?.kind);
  const [a, b] = [placeOf(plan, step, instruction.inputs[0]), placeOf(plan, step, instruction.inputs[1])];
  const result = placeOf(plan, step, epilogue?.output ?? instruction.output);
  const bias = epilogue?.bias === undefined ? undefined : placeOf(plan, step, epilogue.bias);
  const workspace = placeOf(plan, step, "workspace");
  const bytes = step.workspace?.bytes ?? 0;
  let tensors: MatmulTensors = { a: 0n, b: 0n, result: 0n };
  let scratch = 0n;
  return {
    describe: () => describeMatmul(spec),
    bind(addresses) {
      tensors = {
        ...{ a: addresses(a), b: addresses(b), result: addresses(result) },
        ...(bias === undefined ? {} : { bias: addresses(bias) }),
      };
      scratch = addresses(workspace);
      // Prepared here rather than in the run: a run refused midway would already have overwritten donated inputs.
      products.prepare(spec, bytes, tensors.bias);
    },
    run: (_, stream) => products.run(spec, tensors, scratch, bytes, stream),
  };
}

function recordZeros(
  { card }: Tools,
  plan: Plan,
  { value, step }: Extract<Launch, { kind: "zeros" }>,
): Recorded {
  const place = placeOf(plan, step, value);
  const bytes = bytesOf(at(plan.values, value));
  let address = 0n;
  return {
    describe: () => "a fill with zeros",
    bind: (addresses) => address = addresses(place),
    run: (_, stream) => card.clear(address, bytes, stream),
  };
}

function recordCopy(
  { card }: Tools,
  plan: Plan,
  { from, to, step }: Extract<Launch, { kind: "copy" }>,
): Recorded {
  const [source, target] = [placeOf(plan, step, from), placeOf(plan, step, to)];
  const bytes = bytesOf(at(plan.values, to));
  let addresses: readonly [bigint, bigint] = [0n, 0n];
  return {
    describe: () => "a copy",
    bind: (of) => addresses = [of(target), of(source)],
    run: (_, stream) => card.copy(...addresses, bytes, stream),
  };
}
