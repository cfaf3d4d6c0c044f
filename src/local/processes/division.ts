import { LocalgradError } from "../../base/errors.ts";
import { mebibytes } from "../../base/mebibytes.ts";
import type { Plan, Target } from "../../compile/plan.ts";
import { type Aval, bytesOf } from "../../trace/dtype.ts";
import { treeLeaves } from "../../trace/tree.ts";
import { slotsOf } from "../average.ts";
import type { Layout } from "./layout.ts";
import type { PlanOptions } from "../memory.ts";
import { moduleIn } from "../places.ts";
import { expectDivisible } from "./part.ts";
import { planAlone, planProcess } from "./plans.ts";
import { lightestRuns, type ModuleRun, runsOf } from "./runs.ts";
import type { LocalModule, Setup } from "../setup.ts";
import { shareOf } from "./shares.ts";
import { type Speeds, stepTime, TYPICAL } from "../step_time.ts";

/** Options of {@link divide}. */
export interface DivideOptions extends PlanOptions {
  /** Images per step of all processes together. */
  readonly batch: number;
  /** The kind of device. */
  readonly target: Target;
  /** The numbers of processes. */
  readonly layout: Layout;
  /** The most bytes that a process may need, as planned; default any number. */
  readonly limit?: number;
  /** The devices' speeds; only their ratio matters. Default {@link TYPICAL}. */
  readonly speeds?: Speeds;
  /** The most batches whose features wait to be sent; default 1. */
  readonly depth?: number;
}

/**
 * Divides the modules of a setup among the processes of a pipeline: in consecutive runs, so that the slowest process is as
 * fast as possible and none needs more memory than the limit. Times are those of the planned step of a single process, at
 * these speeds. Memory is estimated from that plan too, and the runs that are chosen are then planned themselves. Allocates
 * nothing.
 *
 * @throws {LocalgradError} if there are fewer modules than processes, or no division keeps to the limit: the message has the
 * least.
 */
export function divide(setup: Setup, options: DivideOptions): ModuleRun[] {
  const { batch, target, layout, limit = Infinity, speeds = TYPICAL, recompute = false, depth } = options;
  const { modules } = setup;
  const count = layout.modules;
  if (count === 1) return [{ first: 0, end: modules.length }];
  expectDivisible(setup, layout);
  const { from, to } = shareOf(batch, layout.data, layout.data - 1);
  const { plan } = planAlone(setup, to - from, target, { recompute });
  const times = stepTime(plan, modules.length, speeds).modules;
  if (limit === Infinity || count > modules.length) return runsOf({ times }, count);
  const estimate = estimateOf(setup, plan);
  const planned = new Map<string, number>();
  const keyOf = ({ first, end }: ModuleRun) => `${first} ${end}`;
  const bytes = (run: ModuleRun) => planned.get(keyOf(run)) ?? estimate(run);
  /** Plans the processes of runs that need about as much as `most` by the estimate; returns true if there were any. */
  const checked = (runs: readonly ModuleRun[], most: number): boolean => {
    const fresh = runs.filter((run) => !planned.has(keyOf(run)) && bytes(run) > most * (1 - TOLERANCE));
    for (const run of fresh) {
      const own = { layout, runs, recompute, ...(depth === undefined ? {} : { depth }) };
      const { memory } = planProcess(setup, batch, target, own, runs.indexOf(run));
      planned.set(keyOf(run), memory.peakBytes);
    }
    return fresh.length > 0;
  };
  const fitting = (): ModuleRun[] => {
    for (;;) {
      const runs = runsOf({ times, bytes, limit }, count);
      if (!checked(runs, limit)) return runs;
    }
  };
  for (;;) {
    const lightest = lightestRuns(bytes, modules.length, count);
    const heaviest = lightest.reduce((a, b) => bytes(b) > bytes(a) ? b : a);
    const least = bytes(heaviest);
    if (least <= limit * (1 - TOLERANCE)) return fitting();
    if (checked(lightest, least)) continue;
    if (least <= limit) return fitting();
    throw new LocalgradError(
      `parallel: with these modules, ${count} processes in a row need at least ${
        mebibytes(least)
      } each, more than the ` +
        `limit of ${
          mebibytes(limit)
        }; allow that much, or use smaller batches, recomputation, more modules or more ` +
        "processes",
    );
  }
}

/** Estimates are that much too low at most: a module alone may be computed in another order than in the whole step. */
const TOLERANCE = 0.2;

/**
 * Estimates what the process of a run needs: its values, the most that one of its modules holds for a while in the plan of
 * the whole step, and the features that it receives and sends.
 */
function estimateOf({ modules, ...setup }: Setup, plan: Plan): (run: ModuleRun) => number {
  const held = new Array<number>(modules.length).fill(0);
  for (const { scope, liveBytes } of plan.memory.timeline) {
    const index = moduleIn(scope);
    if (index !== undefined) held[index] = Math.max(held[index] ?? 0, liveBytes);
  }
  const valuesOf = (module: LocalModule) =>
    treeLeaves<Aval>([module.params, module.state, slotsOf(setup, module.params, [module])])
      .reduce((sum, aval) => sum + bytesOf(aval), 0);
  const values = modules.map(valuesOf);
  return ({ first, end }) => {
    const own = values.slice(first, end).reduce((sum, bytes) => sum + bytes, 0);
    return own + Math.max(...held.slice(first, end)) + (plan.memory.breakdown.scratch ?? 0);
  };
}
