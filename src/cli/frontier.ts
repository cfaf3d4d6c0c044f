import { formatBytes, formatPercent } from "../artifacts/format.ts";
import { at } from "../base/at.ts";
import type { Plan, Target } from "../compile/plan.ts";
import * as local from "../local.ts";
import { typicalSpeeds } from "../local/limit/options.ts";
import { setupOf } from "./build.ts";
import { methodOf } from "./method_flags.ts";
import type { MethodName, Settings } from "./settings.ts";

/** Methods that are compared if none are given. */
const METHODS = ["endToEnd", "endToEnd+checkpoint", "greedy", "dgl", "man+dgl", "augLocal"] as const;
/** The numbers of modules of local methods; each is the published split if there is one, else even. */
const COUNTS: readonly number[] = [2, 3, 4, 8, 16];
/** The limits that each way is also planned within, as shares of its plain peak. */
const SHARES: readonly number[] = [0.75, 0.6, 0.45, 0.3];

/** A planned way to train. */
export interface FrontierRow {
  /** The method as `--method` takes it. */
  readonly method: MethodName;
  /** The number of its modules. */
  readonly modules: number;
  /** The rule that they were cut by. */
  readonly split: string;
  /** The limit that it recomputes for, in bytes, if it does. */
  readonly limit?: number;
  readonly peakBytes: number;
  /** The predicted time of a step. */
  readonly seconds: number;
  /** True if no other row needs as little in less time or as little time with less. */
  readonly best: boolean;
}

/** Plans methods and cuts, without and with recomputation within limits. Allocates nothing. */
export function frontierOf(
  settings: Settings,
  target: Target,
  names: readonly MethodName[] = METHODS,
  speeds: local.Speeds = typicalSpeeds(target),
): FrontierRow[] {
  const { modules: _modules, method: _method, ...run } = setupOf(settings);
  const most = run.model.blocks.length;
  const counts = [...COUNTS.filter((count) => count < most), most];
  const rows = names.flatMap((name) => {
    const method = methodOf(name, {}, settings.dataset);
    const cuts = method.auxiliary === undefined ? [1] : counts.filter((count) => count > 1);
    return cuts.flatMap((modules) => {
      const setup = local.setup({ ...run, method, modules });
      const row = (plan: Plan, limit?: number) => ({
        ...{ method: name, modules: setup.modules.length, split: setup.partition.how },
        ...(limit === undefined ? {} : { limit }),
        peakBytes: plan.memory.peakBytes,
        seconds: totalOf(local.stepTime(plan, setup.modules.length, speeds)),
      });
      const plain = row(local.stepPlan(setup, settings.batch, target));
      const limits = SHARES.map((share) => Math.floor(share * plain.peakBytes));
      const plans = local.stepPlans(setup, settings.batch, target, limits, speeds);
      // A limit that cannot be kept to gives the least plan, once.
      const within = plans.map((plan, i) => row(plan, at(limits, i)))
        .filter(({ peakBytes }, i, all) => peakBytes < (all[i - 1] ?? plain).peakBytes);
      return [plain, ...within];
    });
  });
  const dominates = (a: typeof rows[number], b: typeof rows[number]) =>
    a.peakBytes <= b.peakBytes && a.seconds <= b.seconds &&
    (a.peakBytes < b.peakBytes || a.seconds < b.seconds);
  return rows.map((row) => ({ ...row, best: !rows.some((other) => dominates(other, row)) }))
    .toSorted((a, b) => a.peakBytes - b.peakBytes);
}

function totalOf({ modules, rest }: local.StepTime): number {
  return modules.reduce((sum, seconds) => sum + seconds, rest);
}

/** Rows for people, with peak and time relative to end to end, or to the largest if that is not among them. */
export function frontierText(
  rows: readonly FrontierRow[],
  table: (heads: readonly string[], rows: readonly (readonly string[])[]) => string,
): string {
  const whole = rows.find(({ method, limit }) => method === "endToEnd" && limit === undefined) ??
    at(rows, rows.length - 1);
  return table(
    ["", "K", "split", "peak", "of end to end", "predicted time", "best"],
    rows.map(({ method, modules, split, limit, peakBytes, seconds, best }) => [
      limit === undefined ? method : `${method}, recomputing`,
      `${modules}`,
      modules === 1 ? "" : split,
      formatBytes(peakBytes),
      formatPercent(peakBytes / whole.peakBytes, 1),
      `${(seconds / whole.seconds).toFixed(2)} ×`,
      best ? "*" : "",
    ]),
  );
}
