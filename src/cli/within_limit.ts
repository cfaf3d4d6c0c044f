import { formatBytes, formatPercent } from "../artifacts/format.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Target } from "../compile/plan.ts";
import * as local from "../local.ts";
import { precisionOn } from "../local/precision.ts";
import { setupOf } from "./build.ts";
import { type Given, oneOf, wholeNumber } from "./flags/flags.ts";
import { methodOf } from "./flags/method.ts";
import { type MethodName, rateFor, type Settings, type trainingFlags } from "./settings.ts";

/** What flags leave open within a memory limit. */
export interface Open {
  /** The methods to choose from; undefined for the one of the settings. */
  readonly methods?: readonly MethodName[];
  /** Is the cut to be chosen? */
  readonly cut: boolean;
  /** Are micro-batches to be chosen? */
  readonly accumulate: boolean;
  /** The batches to choose from; undefined for the one of the settings. */
  readonly batches?: readonly number[];
  /** Does the learning rate follow the batch, as it does by default? */
  readonly scaled?: boolean;
}

type SearchFlags = Pick<
  Given<typeof trainingFlags>,
  "memory-limit" | "method" | "batch" | "lr" | "accumulate" | "modules" | "after" | "split"
>;

/** Reads what flags leave open within a memory limit; returns flags for one way, from which the search starts. */
export function openFrom<G extends SearchFlags & { readonly frontier?: true }>(
  given: G,
): { readonly given: G; readonly open: Open } {
  const { method = "", batch = "", accumulate, modules, after, split } = given;
  const several = method.includes(","), sizes = batch.includes(",");
  const auto = accumulate === "auto";
  if (given["memory-limit"] === undefined) {
    if (several && !given.frontier) {
      throw new LocalgradError("--method takes one name; several are for --memory-limit, which chooses");
    }
    if (sizes) {
      throw new LocalgradError("--batch takes one size; several are for --memory-limit, which chooses");
    }
    if (auto) {
      throw new LocalgradError("--accumulate auto is for --memory-limit, which chooses; give a number");
    }
  }
  const methods = method.split(",").map((name) => name.trim());
  const batches = batch.split(",").map((size) => size.trim());
  const { accumulate: _accumulate, ...others } = given;
  return {
    given: {
      ...(auto ? others : given),
      ...(several ? { method: methods[0] } : {}),
      ...(sizes ? { batch: batches[0] } : {}),
    } as G,
    open: {
      cut: modules === undefined && after === undefined && split === undefined,
      accumulate: auto,
      ...(several ? { methods: methods.map((name) => oneOf("method", name, local.methodNames)) } : {}),
      ...(sizes
        ? { batches: batches.map((size) => wholeNumber("batch", size, 1)), scaled: given.lr === undefined }
        : {}),
    },
  };
}

/** Chooses a way within the limit of the settings, of which `reserve` bytes are left; returns the settings of that. */
export function chosenWithin(
  settings: Settings & { readonly memoryLimit: number },
  { methods, cut, accumulate, batches, scaled = false }: Open,
  target: Target,
  reserve = 0,
): { readonly settings: Settings; readonly plan: local.WayWithinLimit } {
  const { memoryLimit, methodOptions = {}, dataset, batch, recompute } = settings;
  const { method: _method, modules, accumulate: count, ...setup } = setupOf(settings);
  const names = methods ?? [settings.method];
  const made = names.map((name) => methodOf(name, methodOptions, dataset));
  const plan = local.withinLimit({
    ...setup,
    ...{ memoryLimit, reserve, batch: batches ?? batch, target, method: made },
    precision: precisionOn(target, settings.precision), // as the trainer plans it
    modules: cut ? "auto" : modules,
    ...(accumulate ? { accumulate: "auto" } : count === undefined ? {} : { accumulate: count }),
    ...(recompute === undefined ? {} : { recompute }),
  });
  const chosen = plan.modules;
  return {
    plan,
    settings: {
      ...settings,
      batch: plan.batch,
      ...(scaled ? { lr: rateFor(settings, plan.batch) } : {}),
      method: names[made.indexOf(plan.method)] ?? "endToEnd+checkpoint",
      modules: cut && typeof chosen === "object" && "after" in chosen ? chosen.after : settings.modules,
      ...(plan.accumulate === 1 ? {} : { optimizer: { ...settings.optimizer, accumulate: plan.accumulate } }),
    },
  };
}

/** Refuses to leave to several processes what only one alone chooses. */
export function refuseOpen({ methods, batches, accumulate }: Open): void {
  const [flag] = [methods && "method", batches && "batch", accumulate && "accumulate"].filter(Boolean);
  if (flag !== undefined) {
    throw new LocalgradError(`--${flag} is chosen for one process alone; give several a single value`);
  }
}

/** What was chosen within a limit, in words. */
export function describeChoice(
  { limit, reserve, description, peakBytes, seconds, next }: local.WayWithinLimit,
): string {
  const data = reserve === undefined ? "" : `, with ${formatBytes(reserve)} of data`;
  const chosen = `within ${formatBytes(limit)}${data}: ${description}; planned peak ${
    formatBytes(peakBytes)
  }`;
  if (next === undefined) return `${chosen}; nothing that was tried is faster`;
  const needed = formatBytes(next.peakBytes + (reserve ?? 0));
  const gained = formatPercent(1 - next.seconds / seconds, 1);
  return `${chosen}; the next faster, ${next.description}, needs a limit of ${needed} for ${gained} less time, as predicted`;
}

/** What was chosen within a limit, as JSON. */
export function choiceJson(
  { limit, reserve = 0, method, batch, modules, recompute, accumulate, next, ...way }: local.WayWithinLimit,
) {
  const summary = (
    { description, peakBytes, seconds }: Pick<local.PlannedWay, "description" | "peakBytes" | "seconds">,
  ) => ({
    ...{ description, peakBytes, seconds },
  });
  return {
    ...{ limit, reserve, method: method.name, batch, modules, recompute: recompute !== false, accumulate },
    ...summary(way),
    ...(next === undefined ? {} : { next: summary(next) }),
  };
}
