import { expectKind, expectWhole } from "../base/expect.ts";
import type { MemoryReport, Plan, Target } from "../compile/plan.ts";
import { jit } from "../runtime/jit.ts";
import type { Aval } from "../trace/dtype.ts";
import type { Category } from "../trace/program.ts";
import type { Tensor } from "../trace/tensor.ts";
import { withCut } from "./balance.ts";
import type { Batch } from "./method.ts";
import { endToEnd } from "./methods/end_to_end.ts";
import { type Setup, setup, type SetupOptions, type TrainState } from "./setup.ts";
import { expectSetup } from "./setup.ts";
import { trainStep } from "./step.ts";

/** The planned memory of a training step, by the method and by end-to-end training with the same settings. */
export interface MemoryComparison {
  /** By the method. */
  readonly method: MemoryReport;
  /** End to end. */
  readonly endToEnd: MemoryReport;
}

/** What the memory of an input of a training step is for, by its path. */
export function categorize(path: string): Category {
  expectKind("categorize: the path", path, "string");
  const [argument, part, ...rest] = path.split(".");
  if (argument !== "0") return argument === "1" ? "data" : "inputs";
  if (part === "optimizer") return "optimizer";
  if (rest[0] === "local" && (part === "params" || rest[2] === "ema")) return "auxiliary";
  return part === "params" ? "parameters" : "state";
}

/** How a training step is planned. */
export interface PlanOptions {
  /** Whether cheap element-wise results are computed again in the backward pass where that lowers the peak; default false. */
  recompute?: boolean;
}

/** Plans a training step on a kind of device; nothing is allocated. The data set counts apart. */
export function stepPlan(
  setup: Setup,
  batch: number,
  target: Target,
  { recompute = false }: PlanOptions = {},
): Plan {
  expectSetup("stepPlan", setup);
  expectWhole("stepPlan: the batch", batch);
  expectKind("stepPlan: the target", target, "object");
  const { height, width, channels } = setup.model.input;
  const image: Aval = { shape: [batch, height, width, channels], dtype: "f32" };
  const step = jit(
    (
      train: TrainState<Tensor>,
      _data: Record<never, never>,
      batch: Batch,
      scalars: { [name: string]: Tensor },
    ) => trainStep(setup, train, batch, scalars),
    { name: `${setup.method.name} step`, donate: [0], categorize, recompute },
  );
  const scalars: { [name: string]: Aval } = {};
  for (const name of Object.keys(setup.optimizer.scalars(0, 0))) scalars[name] = { shape: [], dtype: "f32" };
  const avals = { x: image, labels: { shape: [batch], dtype: "i32" } as Aval, images: image };
  // A plan that is too large for the device is still worth knowing; running it is what is refused.
  const unlimited = { ...target, maxTotalBytes: Infinity };
  return step.plan(unlimited, setup.initial as never, {}, avals, scalars);
}

/** Plans the memory of a training step on a kind of device; nothing is allocated. The data set counts apart. */
export function stepMemory(
  setup: Setup,
  batch: number,
  target: Target,
  options: PlanOptions = {},
): MemoryReport {
  return stepPlan(setup, batch, target, options).memory;
}

/** Plans a training step beside the end-to-end one of the same network, optimizer and batch. */
export function compareMemory(
  local: Setup,
  batch: number,
  target: Target,
  options: PlanOptions = {},
): MemoryComparison {
  const method = stepMemory(local, batch, target, options);
  if (local.method.name === endToEnd().name) return { method, endToEnd: method };
  const { model, optimizer, precision } = local;
  return {
    method,
    endToEnd: stepMemory(
      setup({ model, optimizer, method: endToEnd(), ...(precision === undefined ? {} : { precision }) }),
      batch,
      target,
      options,
    ),
  };
}

/**
 * Plans the memory of a method's training step and of the end-to-end one, without a device and with nothing allocated.
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
  return compareMemory(setup(withCut(options)), options.batch, options.target, options);
}
