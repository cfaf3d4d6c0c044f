import { LocalgradError } from "../../base/errors.ts";
import type { MemoryReport, Precision } from "../../compile/plan.ts";
import * as local from "../../local.ts";
import { moduleIn } from "../../local/places.ts";
import * as models from "../../models.ts";
import * as optim from "../../optim.ts";
import { publishedSgd } from "../../optim/published.ts";
import { type PlannedDevice, targetFor } from "../planned_device.ts";

/** A way to train a network, to plan its memory: plain data, which can be sent to a thread. */
export interface Split {
  readonly model: models.ModelName;
  readonly classes: number;
  /** Height and width of the images; default the network's. */
  readonly size?: readonly [height: number, width: number];
  readonly batch: number;
  readonly method: local.MethodName;
  readonly modules: local.Modules;
  readonly device: PlannedDevice;
  readonly precision?: Precision;
}

/** The planned memory of a split. */
export interface PlannedSplit {
  readonly peakBytes: number;
  readonly breakdown: MemoryReport["breakdown"];
  /** The peak of live temporaries in each module. */
  readonly modules: readonly number[];
  /** The blocks it is cut after. */
  readonly after: readonly string[];
  /** Additional operations and memory traffic of recomputation, as fractions of those without it. */
  readonly recompute?: { readonly operations: number; readonly bytes: number };
}

/** The plans of a split; balanced boundaries are found for each separately. */
export interface SplitPlans {
  readonly plain: PlannedSplit;
  readonly recomputed: PlannedSplit;
}

/** The reply of a planning thread. */
export type Answer = { readonly plans: SplitPlans } | { readonly error: string };

/** Plans a split without and with recomputation. Allocates nothing. */
export async function planSplit(split: Split): Promise<SplitPlans> {
  const { batch } = split;
  using machine = await targetFor(split.device);
  const options = {
    modules: split.modules,
    batch: split.batch,
    ...(split.precision === undefined ? {} : { precision: split.precision }),
    model: models.modelNamed(split.model, {
      classes: split.classes,
      ...(split.size === undefined ? {} : { size: split.size }),
    }),
    method: local.methodNamed(split.method),
    optimizer: optim.sgd(publishedSgd),
    target: machine,
  };
  // With recomputation first: its plans include those without.
  const lean = local.setup(local.withCut({ ...options, recompute: true }));
  const { memory, without = memory } = local.stepPlan(lean, batch, machine, { recompute: true });
  const plain = local.setup(local.withCut(options));
  const isSame = cutOf(plain).join() === cutOf(lean).join();
  return {
    plain: summary(isSame ? without : local.stepPlan(plain, batch, machine).memory, plain),
    recomputed: summary(memory, lean),
  };
}

/** Plans splits in one thread per core, or on this thread if threads may not read their modules. */
export async function planSplits(splits: readonly Split[]): Promise<SplitPlans[]> {
  const plans = new Array<SplitPlans>(splits.length);
  // Searches for balanced boundaries take longest, so they start first.
  const searches = ({ modules }: Split) => typeof modules === "object" && "balanced" in modules;
  const queue = [...splits.entries()]
    .toSorted(([, a], [, b]) => Number(searches(b)) - Number(searches(a))).values();
  const work = async (plan: (split: Split) => Promise<SplitPlans>): Promise<void> => {
    for (const [i, split] of queue) plans[i] = await plan(split);
  };
  const count = await mayStartThreads() ? Math.min(navigator.hardwareConcurrency, splits.length) : 1;
  if (count === 1) {
    await work(planSplit);
    return plans;
  }
  const threads = Array.from({ length: count }, () => new PlanningThread());
  try {
    await Promise.all(threads.map((thread) => work((split) => thread.plan(split))));
  } finally {
    for (const thread of threads) thread.end();
  }
  return plans;
}

/** Returns true if threads may read their modules, for which they need the permission of this one. */
async function mayStartThreads(): Promise<boolean> {
  if (!import.meta.url.startsWith("file:")) return false;
  const folders = ["../../src", "../../kernels", "../../ffi"].map((path) => new URL(path, import.meta.url));
  const states = await Promise.all(folders.map((path) => Deno.permissions.query({ name: "read", path })));
  return states.every(({ state }) => state === "granted");
}

/** A thread that plans one split at a time. */
class PlanningThread {
  readonly #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });

  plan(split: Split): Promise<SplitPlans> {
    return new Promise((resolve, reject) => {
      const fail = (message: string) =>
        reject(new LocalgradError(`${split.model} with ${split.method} cannot be planned: ${message}`));
      this.#worker.onmessage = ({ data }: MessageEvent<Answer>) =>
        "error" in data ? fail(data.error) : resolve(data.plans);
      this.#worker.onerror = (event) => {
        event.preventDefault();
        fail(event.message.replace(/\n[^]*/, ""));
      };
      this.#worker.postMessage(split);
    });
  }

  end(): void {
    this.#worker.terminate();
  }
}

function cutOf({ modules }: local.Setup): string[] {
  return modules.slice(0, -1).map(({ blocks }) => blocks.at(-1)?.name ?? "stem");
}

function summary(report: MemoryReport, setup: local.Setup): PlannedSplit {
  const { peakBytes, breakdown, recompute: cost } = report;
  return {
    peakBytes,
    breakdown,
    modules: modulePeaks(report, setup.modules.length),
    after: cutOf(setup),
    ...(cost === undefined ? {} : {
      recompute: {
        operations: cost.operations / cost.of.operations,
        bytes: cost.bytes / cost.of.bytes,
      },
    }),
  };
}

/** The peak of live temporaries in each module, from the timeline of a plan. */
export function modulePeaks({ timeline }: MemoryReport, count: number): number[] {
  return Array.from(
    { length: count },
    (_, index) =>
      timeline.filter(({ scope }) => moduleIn(scope) === index)
        .reduce((peak, { liveBytes }) => Math.max(peak, liveBytes), 0),
  );
}
