import { formatBytes, formatPercent } from "../artifacts/format.ts";
import { LocalgradError } from "../base/errors.ts";
import { bytesOfSize } from "../base/size.ts";
import type { MemoryReport, Plan, Target } from "../compile/plan.ts";
import * as local from "../local.ts";

/** A step planned within a limit. */
export interface LimitedPlan {
  /** The limit in bytes. */
  readonly limit: number;
  /** The planned peak: above the limit only if no plan was found that keeps to it, and then the least. */
  readonly peakBytes: number;
  /** The cost of what is recomputed; absent if nothing is. */
  readonly recompute?: MemoryReport["recompute"];
}

/** Reads the sizes of `--limits`. */
export function limitsFrom(text: string): number[] {
  const limits = text.split(",").map((size) => bytesOfSize("--limits", size.trim()));
  if (limits.length === 0) throw new LocalgradError("--limits takes sizes, such as 4GiB,2GiB");
  return limits;
}

/** Plans a training step within each limit, without and with recomputation. */
export function planLimits(
  options: local.SetupOptions & local.PlanOptions & { batch: number; target: Target },
  limits: readonly number[],
): { readonly plain: MemoryReport; readonly plans: readonly LimitedPlan[] } {
  const { batch, target } = options;
  const setup = local.setup(local.withCut({ ...options, recompute: true }));
  const [plain, ...plans] = local.stepPlans(setup, batch, target, [Infinity, ...limits]) as [Plan, ...Plan[]];
  return {
    plain: plain.memory,
    plans: plans.map(({ memory: { peakBytes, recompute } }, i) => ({
      limit: limits[i] ?? 0,
      peakBytes,
      ...(recompute === undefined ? {} : { recompute }),
    })),
  };
}

/** A table of planned limits. */
export function limitsText(
  { plain, plans }: ReturnType<typeof planLimits>,
  table: (heads: readonly string[], rows: readonly (readonly string[])[]) => string,
): string {
  const added = (of: MemoryReport["recompute"], kind: "operations" | "bytes") =>
    of === undefined ? "" : `+${formatPercent(of[kind] / of.of[kind], 1)}`;
  const rows = plans.map(({ limit, peakBytes, recompute }) => [
    formatBytes(limit),
    formatBytes(peakBytes),
    peakBytes <= limit ? "" : "the least found",
    formatPercent(1 - peakBytes / plain.peakBytes, 1),
    added(recompute, "operations"),
    added(recompute, "bytes"),
  ]);
  return table(["limit", "peak", "", "saved", "operations", "bytes moved"], [
    ["", formatBytes(plain.peakBytes), "nothing is recomputed", "", "", ""],
    ...rows,
  ]);
}
