import { LocalgradError } from "../base/errors.ts";
import type { MemoryReport, Precision } from "../compile/plan.ts";
import * as local from "../local.ts";
import * as models from "../models.ts";
import * as optim from "../optim.ts";
import { publishedSgd } from "../optim/published.ts";
import { type BackendName, target } from "../runtime/devices.ts";

/** A way to train a network whose memory is asked for: plain data, which can be sent to a thread. */
export interface Split {
  readonly model: models.ModelName;
  readonly classes: number;
  readonly batch: number;
  readonly method: local.MethodName;
  readonly modules: local.Modules;
  readonly backend: BackendName;
  readonly precision?: Precision;
}

/** What its plan comes to. */
export interface PlannedSplit {
  readonly peakBytes: number;
  readonly breakdown: MemoryReport["breakdown"];
  /** The most temporaries alive in each module. */
  readonly modules: readonly number[];
  /** Where it is cut: the last block of each module but the last. */
  readonly after: readonly string[];
  /** What recomputing adds to the operations and to the bytes moved, as parts of what they are without. */
  readonly recompute?: { readonly operations: number; readonly bytes: number };
}

/** The plans of a split, each with balanced boundaries of its own where those are asked for. */
export interface SplitPlans {
  readonly plain: PlannedSplit;
  readonly recomputed: PlannedSplit;
}

/** What a planning thread answers. */
export type Answer = { readonly plans: SplitPlans } | { readonly error: string };

/** Plans a split without and with recomputing. Nothing is allocated. */
export async function planSplit(split: Split): Promise<SplitPlans> {
  const { batch } = split;
  const machine = await target(split.backend);
  const options = {
    ...split,
    model: models.modelNamed(split.model, { classes: split.classes }),
    method: local.methodNamed(split.method),
    optimizer: optim.sgd(publishedSgd),
    target: machine,
  };
  // Recomputing first: those plans tell what they are without it too.
  const lean = local.setup(local.withCut({ ...options, recompute: true }));
  const { memory, without = memory } = local.stepPlan(lean, batch, machine, { recompute: true });
  const plain = local.setup(local.withCut(options));
  const isSame = cutOf(plain).join() === cutOf(lean).join();
  return {
    plain: summary(isSame ? without : local.stepPlan(plain, batch, machine).memory, plain),
    recomputed: summary(memory, lean),
  };
}

/** Plans splits in as many threads as there are cores; on this thread where the threads may not read their modules. */
export async function planSplits(splits: readonly Split[]): Promise<SplitPlans[]> {
  const plans = new Array<SplitPlans>(splits.length);
  // What searches for its boundaries takes longest, and goes first.
  const searches = ({ modules }: Split) => typeof modules === "object" && "balanced" in modules;
  const left = splits.map((_, i) => i).sort((a, b) =>
    Number(searches(splits[b])) - Number(searches(splits[a]))
  );
  const work = async (plan: (split: Split) => Promise<SplitPlans>): Promise<void> => {
    for (let i = left.shift(); i !== undefined; i = left.shift()) plans[i] = await plan(splits[i]);
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

/** A thread reads the modules it runs by itself, for which it needs this one's permission. */
async function mayStartThreads(): Promise<boolean> {
  if (!import.meta.url.startsWith("file:")) return false;
  const folders = ["../../src", "../../kernels"].map((path) => new URL(path, import.meta.url));
  const states = await Promise.all(folders.map((path) => Deno.permissions.query({ name: "read", path })));
  return states.every(({ state }) => state === "granted");
}

/** A thread that plans one split at a time. */
class PlanningThread {
  readonly #worker = new Worker(new URL("./memory_worker.ts", import.meta.url), { type: "module" });

  plan(split: Split): Promise<SplitPlans> {
    return new Promise((resolve, reject) => {
      const fail = (message: string) =>
        reject(new LocalgradError(`${split.model} by ${split.method} cannot be planned: ${message}`));
      this.#worker.onmessage = ({ data }: MessageEvent<Answer>) =>
        "error" in data ? fail(data.error) : resolve(data.plans);
      this.#worker.onerror = (event) => {
        event.preventDefault();
        fail(event.message.split("\n")[0]);
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

/** The most temporaries of each module, from a plan's course. */
export function modulePeaks({ timeline }: MemoryReport, count: number): number[] {
  const peaks = new Array<number>(count).fill(0);
  for (const { scope, liveBytes } of timeline) {
    const module = /^module (\d+)/.exec(scope);
    if (module !== null) peaks[Number(module[1]) - 1] = Math.max(peaks[Number(module[1]) - 1], liveBytes);
  }
  return peaks;
}
