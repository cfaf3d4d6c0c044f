import { formatBytes, formatPercent } from "../artifacts/format.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Target } from "../compile/plan.ts";
import * as local from "../local.ts";
import { setupOf } from "./build.ts";
import { type Given, oneOf } from "./flags.ts";
import { methodOf } from "./method_flags.ts";
import type { MethodName, Settings, trainingFlags } from "./settings.ts";

/** What flags leave open within a memory limit. */
export interface Open {
  /** The methods to choose from; undefined for the one of the settings. */
  readonly methods?: readonly MethodName[];
  /** Is the cut to be chosen? */
  readonly cut: boolean;
  /** Are micro-batches to be chosen? */
  readonly accumulate: boolean;
}

type SearchFlags = Pick<
  Given<typeof trainingFlags>,
  "memory-limit" | "method" | "accumulate" | "modules" | "after" | "split"
>;

/** Reads what flags leave open within a memory limit; returns flags for one way, from which the search starts. */
export function openFrom<G extends SearchFlags & { readonly frontier?: true }>(
  given: G,
): { readonly given: G; readonly open: Open } {
  const { method = "", accumulate, modules, after, split } = given;
  const several = method.includes(",");
  const auto = accumulate === "auto";
  if (given["memory-limit"] === undefined) {
    if (several && !given.frontier) {
      throw new LocalgradError("--method takes one name; several are for --memory-limit, which chooses");
    }
    if (auto) {
      throw new LocalgradError("--accumulate auto is for --memory-limit, which chooses; give a number");
    }
  }
  const methods = method.split(",").map((name) => name.trim());
  const { accumulate: _accumulate, ...others } = given;
  return {
    given: { ...(auto ? others : given), ...(several ? { method: methods[0] } : {}) } as G,
    open: {
      cut: modules === undefined && after === undefined && split === undefined,
      accumulate: auto,
      ...(several ? { methods: methods.map((name) => oneOf("method", name, local.methodNames)) } : {}),
    },
  };
}

/** Chooses a way within the limit of the settings; returns the settings of that. */
export function chosenWithin(
  settings: Settings & { readonly memoryLimit: number },
  { methods, cut, accumulate }: Open,
  target: Target,
): { readonly settings: Settings; readonly plan: local.WayWithinLimit } {
  const { memoryLimit, methodOptions = {}, dataset, batch, recompute } = settings;
  const { method: _method, modules, accumulate: count, ...setup } = setupOf(settings);
  const names = methods ?? [settings.method];
  const made = names.map((name) => methodOf(name, methodOptions, dataset));
  const plan = local.withinLimit({
    ...setup,
    ...{ memoryLimit, batch, target, method: made },
    modules: cut ? "auto" : modules,
    ...(accumulate ? { accumulate: "auto" } : count === undefined ? {} : { accumulate: count }),
    ...(recompute === undefined ? {} : { recompute }),
  });
  const chosen = plan.modules;
  return {
    plan,
    settings: {
      ...settings,
      method: names[made.indexOf(plan.method)] ?? "endToEnd+checkpoint",
      modules: cut && typeof chosen === "object" && "after" in chosen ? chosen.after : settings.modules,
      ...(plan.accumulate === 1 ? {} : { optimizer: { ...settings.optimizer, accumulate: plan.accumulate } }),
    },
  };
}

/** What was chosen within a limit, in words. */
export function describeChoice(
  { limit, description, peakBytes, seconds, next }: local.WayWithinLimit,
): string {
  const chosen = `within ${formatBytes(limit)}: ${description}; planned peak ${formatBytes(peakBytes)}`;
  if (next === undefined) return `${chosen}; nothing that was tried is faster`;
  return `${chosen}; the next faster, ${next.description}, needs ${formatBytes(next.peakBytes)} for ${
    formatPercent(1 - next.seconds / seconds, 1)
  } less time, as predicted`;
}

/** What was chosen within a limit, as JSON. */
export function choiceJson(
  { limit, method, modules, recompute, accumulate, next, ...way }: local.WayWithinLimit,
) {
  const summary = (
    { description, peakBytes, seconds }: Pick<local.PlannedWay, "description" | "peakBytes" | "seconds">,
  ) => ({
    ...{ description, peakBytes, seconds },
  });
  return {
    ...{ limit, method: method.name, modules, recompute: recompute !== false, accumulate },
    ...summary(way),
    ...(next === undefined ? {} : { next: summary(next) }),
  };
}
