import { expectKind, expectOptions, expectWhole } from "../base/expect.ts";
import { compileWithin } from "../compile/compile.ts";
import type { MemoryReport, Plan, Target } from "../compile/plan.ts";
import { expectRecompute, type Recompute } from "../compile/recomputation.ts";
import { jit } from "../runtime/jit.ts";
import type { Category, Program } from "../trace/program.ts";
import type { Tensor } from "../trace/tensor.ts";
import { CUT_KINDS, withCut } from "./partition/balance.ts";
import { type Tracked, trackedIn } from "./processes/exchange.ts";
import type { Batch } from "./method.ts";
import { endToEnd } from "./methods/end_to_end.ts";
import { expectMicroBatches } from "./micro_batches.ts";
import { auxiliaryPart, EMA } from "./places.ts";
import { type Setup, setup, type SetupOptions, type TrainState } from "./setup.ts";
import { expectSetup } from "./setup.ts";
import { type Share, shareOf } from "./processes/shares.ts";
import { trainStep } from "./step.ts";
import { batchAvals, scalarAvals } from "./step_inputs.ts";
import { type Speeds, TYPICAL } from "./step_time.ts";

/** The planned memory of a training step with the method and end to end, with the same settings. */
export interface MemoryComparison {
  /** With the method. */
  readonly method: MemoryReport;
  /** End to end. */
  readonly endToEnd: MemoryReport;
}

/** Returns the memory category of a training step's input, by its path. */
export function categorize(path: string): Category {
  expectKind("categorize: the path", path, "string");
  const [argument, part, ...rest] = path.split(".");
  if (argument !== "0") return argument === "1" ? "data" : "inputs";
  if (part === "optimizer") return "optimizer";
  const auxiliary = auxiliaryPart(rest.join("."));
  if (auxiliary !== undefined && (part === "params" || auxiliary === EMA)) return "auxiliary";
  return part === "params" ? "parameters" : "state";
}

/** Options of planning a training step. */
export interface PlanOptions {
  /** What to recompute in the backward pass, see {@link Recompute}; default false. */
  recompute?: Recompute;
}

function expectPlanOptions(who: string, options: PlanOptions): void {
  expectOptions(who, options, { recompute: "any?" });
  expectRecompute(who, options.recompute ?? false);
}

/** Plans a training step for a kind of device, without the data set. Allocates nothing. */
export function stepPlan(
  setup: Setup,
  batch: number,
  target: Target,
  options: PlanOptions = {},
): Plan {
  expectPlanOptions("stepPlan", options);
  const { recompute = false } = options;
  expectSetup("stepPlan", setup);
  expectWhole("stepPlan: the batch", batch);
  expectMicroBatches("stepPlan", setup.accumulate, batch);
  expectKind("stepPlan: the target", target, "object");
  // A plan too large for the device is still worth knowing; only running it is refused.
  const unlimited = { ...target, maxTotalBytes: Infinity };
  const share = shareIn(setup, batch);
  return tracedStep(setup, recompute, share).plan(unlimited, ...stepAvals(setup, imagesIn(share, batch)));
}

/**
 * Plans a training step for a kind of device within each of several limits in bytes, see {@link RecomputeWithin}: what the
 * peak costs in recomputation. A function returns limits for the plan without recomputation. The plan of a limit that
 * cannot be kept to is the least that was found. Takes little more time than planning within the lowest limit alone.
 * Allocates nothing.
 *
 * @example
 * ```ts
 * import { devices, local, models, optim } from "@localgrad/localgrad";
 * import { assert } from "@std/assert";
 *
 * const setup = local.setup({ model: models.resnet8(), method: local.endToEnd(), optimizer: optim.sgd() });
 * const target = await devices.target("cpu", { threads: 1 });
 * const [plain, less] = local.stepPlans(setup, 32, target, ({ memory }) => [Infinity, 0.6 * memory.peakBytes]);
 * assert(less.memory.peakBytes <= 0.6 * plain.memory.peakBytes);
 * assert(less.memory.recompute!.operations > 0); // what that costs
 * ```
 */
export function stepPlans(
  setup: Setup,
  batch: number,
  target: Target,
  bytes: readonly number[] | ((plain: Plan) => readonly number[]),
  speeds: Speeds = TYPICAL,
): Plan[] {
  const checked = (limits: readonly number[]) => {
    expectKind("stepPlans: the limits", limits, "array");
    for (const limit of limits) expectRecompute("stepPlans", { limit, speeds });
    return limits;
  };
  const limits = typeof bytes === "function" ? (plain: Plan) => checked(bytes(plain)) : checked(bytes);
  expectKind("stepPlans: the target", target, "object");
  return compileWithin(stepProgram(setup, batch), { ...target, maxTotalBytes: Infinity }, limits, { speeds });
}

/** The program of a training step. */
export function stepProgram(setup: Setup, batch: number): Program {
  expectSetup("stepProgram", setup);
  expectWhole("stepProgram: the batch", batch);
  const share = shareIn(setup, batch);
  return tracedStep(setup, false, share).program(...stepAvals(setup, imagesIn(share, batch)));
}

/** The share of a batch that one of several processes has; undefined if it has all of it. */
function shareIn({ part }: Setup, batch: number): Share | undefined {
  return part && shareOf(batch, part.layout.data, part.place.data);
}

function imagesIn(share: Share | undefined, batch: number): number {
  return share === undefined ? batch : share.to - share.from;
}

function tracedStep(setup: Setup, recompute: Recompute, share?: Share) {
  return jit(
    (
      train: TrainState<Tensor>,
      _data: Record<never, never>,
      batch: Batch,
      scalars: { [name: string]: Tensor },
      tracked: Tracked,
    ) => trainStep(setup, train, batch, scalars, share, tracked),
    { name: `${setup.method.name} step`, donate: [0], categorize, recompute },
  );
}

/** The arguments of a traced step. */
function stepAvals(setup: Setup, batch: number) {
  const { initial, model, part } = setup;
  return [initial, {}, batchAvals(model, batch), scalarAvals(setup), trackedIn(part)] as const;
}

/** Plans the memory of a training step for a kind of device, without the data set. Allocates nothing. */
export function stepMemory(
  setup: Setup,
  batch: number,
  target: Target,
  options: PlanOptions = {},
): MemoryReport {
  expectPlanOptions("stepMemory", options);
  return stepPlan(setup, batch, target, options).memory;
}

/**
 * Plans a training step, and end-to-end training of the same network with the same optimizer and batch, which recomputes
 * too, unless that is only for a limit.
 */
export function compareMemory(
  local: Setup,
  batch: number,
  target: Target,
  options: PlanOptions = {},
): MemoryComparison {
  expectPlanOptions("compareMemory", options);
  const { memory: method, without = method } = stepPlan(local, batch, target, options);
  // End to end is what would be needed without a limit.
  const isWithin = typeof options.recompute === "object";
  if (local.method.name === endToEnd().name) return { method, endToEnd: isWithin ? without : method };
  const { modules: _cut, partition: _partition, initial: _initial, method: _method, part: _part, ...same } =
    local;
  return {
    method,
    endToEnd: stepMemory(
      setup({ ...same, method: endToEnd() }),
      imagesIn(shareIn(local, batch), batch),
      target,
      isWithin ? {} : options,
    ),
  };
}

/**
 * Plans the memory of a training step with a method and end to end. It needs no device and allocates nothing.
 *
 * @example
 * ```ts
 * import { devices, local, models, optim } from "@localgrad/localgrad";
 * import { assert } from "@std/assert";
 *
 * const { method, endToEnd } = local.memory({
 *   model: models.resnet8({ classes: 10 }),
 *   modules: 3,
 *   method: local.dgl(),
 *   optimizer: optim.sgd({ momentum: 0.9 }),
 *   batch: 64,
 *   target: await devices.target("cpu"),
 * });
 * assert(method.peakBytes < endToEnd.peakBytes);
 * ```
 */
export function memory(
  options: SetupOptions & PlanOptions & { batch: number; target: Target },
): MemoryComparison {
  expectOptions("memory", options, CUT_KINDS);
  const { batch, target, recompute = false } = options;
  return compareMemory(setup(withCut(options)), batch, target, { recompute });
}
