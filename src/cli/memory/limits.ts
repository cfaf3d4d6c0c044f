import { formatBytes, formatPercent } from "../../artifacts/format.ts";
import { LocalgradError } from "../../base/errors.ts";
import { bytesOfSize } from "../../base/size.ts";
import type { MemoryReport, Plan, Target } from "../../compile/plan.ts";
import * as local from "../../local.ts";
import { typicalSpeeds } from "../../local/limit/options.ts";
import { totalTime } from "../../local/step_time.ts";

/** A step planned within a limit. */
export interface LimitedPlan {
  /** The limit in bytes. */
  readonly limit: number;
  /** The planned peak: above the limit only if no plan was found that keeps to it, and then the least. */
  readonly peakBytes: number;
  /** The predicted time of a step. */
  readonly seconds: number;
  /** The cost of what is recomputed; absent if nothing is. */
  readonly recompute?: MemoryReport["recompute"];
}

/** Reads the sizes of `--limits`. */
export function limitsFrom(text: string): number[] {
  const limits = text.split(",").map((size) => bytesOfSize("--limits", size.trim()));
  if (limits.length === 0) throw new LocalgradError("--limits takes sizes, such as 4GiB,2GiB");
  return limits;
}

/** A step planned within several limits. */
export interface PlannedLimits {
  /** Nothing is recomputed. */
  readonly plain: MemoryReport;
  /** The predicted times of a step of that, and end to end. */
  readonly seconds: { readonly plain: number; readonly endToEnd: number };
  readonly plans: readonly LimitedPlan[];
}

/** Plans a training step within each limit, without and with recomputation. Times are at speeds typical of the device's kind. */
export function planLimits(
  options: local.SetupOptions & local.PlanOptions & { batch: number; target: Target },
  limits: readonly number[],
): PlannedLimits {
  const { batch, target, recompute: _recompute, ...run } = options;
  const speeds = typicalSpeeds(target);
  const setup = local.setup(local.withCut({ ...options, recompute: true }));
  const [plain, ...plans] = local.stepPlans(setup, batch, target, [Infinity, ...limits], speeds) as [
    Plan,
    ...Plan[],
  ];
  const secondsOf = (plan: Plan) => totalTime(local.stepTime(plan, setup.modules.length, speeds));
  const whole = local.setup({ ...run, modules: 1, method: local.endToEnd() });
  const seconds = { plain: secondsOf(plain), endToEnd: secondsOf(local.stepPlan(whole, batch, target)) };
  return {
    plain: plain.memory,
    seconds,
    plans: plans.map((plan, i) => {
      const { memory: { peakBytes, recompute } } = plan;
      return {
        ...{ limit: limits[i] ?? 0, peakBytes, seconds: secondsOf(plan) },
        ...(recompute === undefined ? {} : { recompute }),
      };
    }),
  };
}

/** A table of planned limits. */
export function limitsText(
  { plain, seconds, plans }: PlannedLimits,
  table: (heads: readonly string[], rows: readonly (readonly string[])[]) => string,
): string {
  const added = (of: MemoryReport["recompute"], kind: "operations" | "bytes") =>
    of === undefined ? "" : `+${formatPercent(of[kind] / of.of[kind], 1)}`;
  const times = (time: number) => `${(time / seconds.endToEnd).toFixed(2)} ×`;
  const rows = plans.map(({ limit, peakBytes, recompute, seconds: time }) => [
    formatBytes(limit),
    formatBytes(peakBytes),
    peakBytes <= limit ? "" : "the least found",
    formatPercent(1 - peakBytes / plain.peakBytes, 1),
    added(recompute, "operations"),
    added(recompute, "bytes"),
    times(time),
  ]);
  return table(["limit", "peak", "", "saved", "operations", "bytes moved", "predicted time"], [
    ["", formatBytes(plain.peakBytes), "nothing is recomputed", "", "", "", times(seconds.plain)],
    ...rows,
  ]);
}
