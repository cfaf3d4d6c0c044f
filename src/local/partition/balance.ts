import { expectRecompute } from "../../compile/recomputation.ts";
import { at } from "../../base/at.ts";
import { LocalgradError } from "../../base/errors.ts";
import { expectBetween, expectOptions, type Kinds, shared, shown } from "../../base/expect.ts";
import { bestCut } from "./cut_search.ts";
import { checkModel } from "./partition.ts";
import type { SetupOptions } from "../setup.ts";
import { SETUP_KINDS } from "../setup.ts";
import { type BalanceOptions, Stretches } from "./stretches.ts";

export type { BalanceOptions };

/**
 * Finds the boundaries with the lowest planned peak for a number of modules, or with the lowest time of the slowest. Each
 * module that the search considers is planned separately, with its auxiliary network; modules of the same shapes are
 * planned once. Allocates nothing. A method that changes the cut, such as one that makes the stem a module, does so
 * afterwards.
 *
 * @throws {LocalgradError} if the network has fewer blocks than modules, or no cut keeps to the limit.
 *
 * @example
 * ```ts
 * import { devices, local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const cut = local.balanced({
 *   model: models.resnet32(),
 *   modules: 3,
 *   method: local.dgl(),
 *   optimizer: optim.sgd({ momentum: 0.9 }),
 *   batch: 128,
 *   target: await devices.target("cpu"),
 * });
 * assertEquals(cut, { after: ["layer1.2", "layer2.0"] });
 * ```
 */
export function balanced(options: BalanceOptions): { after: string[] } {
  expectOptions("balanced", options, {
    ...CUT_KINDS,
    modules: "number",
    by: "string?",
    speeds: "object?",
    limit: "number?",
  });
  const { model, modules, method, by = "memory", limit, recompute = false } = options;
  expectRecompute("balanced", recompute);
  if (by !== "memory" && by !== "time") {
    throw new LocalgradError(`balanced: by must be "memory" or "time", not ${shown(by)}`);
  }
  if (limit !== undefined) {
    expectBetween("balanced: the limit", limit, 1);
    if (by !== "time") {
      throw new LocalgradError('balanced: a limit is for modules balanced by: "time"; leave it out');
    }
  }
  checkModel(model);
  const { blocks } = model;
  if (!Number.isInteger(modules) || modules < 1 || modules > blocks.length) {
    throw new LocalgradError(
      `balanced: ${model.name} has ${blocks.length} blocks and can be cut into 1 to ${blocks.length} modules, ` +
        `not ${modules}`,
    );
  }
  if (modules === 1 || method.auxiliary === undefined) return { after: [] };
  const stretches = new Stretches(options);
  const ends = bestCut(stretches);
  stretches.expectWithinLimit(ends);
  return { after: ends.slice(0, -1).map((end) => at(blocks, end - 1).name) };
}

/** Options that define a cut, whatever it is given as. */
export type CutOptions = SetupOptions & Omit<BalanceOptions, "modules" | "by" | "speeds" | "limit">;

/** The kinds of those options. */
export const CUT_KINDS = {
  ...SETUP_KINDS,
  batch: "number",
  target: "object",
  recompute: "any?",
} as const satisfies Kinds<CutOptions>;

/** Returns options in which a request for balanced boundaries is replaced by the boundaries. */
export function withCut<O extends CutOptions>(options: O): O {
  expectOptions<CutOptions>("withCut", options, CUT_KINDS);
  expectRecompute("withCut", options.recompute ?? false);
  const { modules } = options;
  const own = shared(options); // `setup` takes its own
  if (typeof modules !== "object" || modules === null || !("balanced" in modules)) return own;
  const { balanced: count, by = "memory" } = modules;
  expectOptions("partition: modules", modules, { balanced: "number", by: "string?" });
  return { ...own, modules: balanced({ ...own, modules: count, by }) };
}
