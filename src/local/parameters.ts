import { at } from "../base/at.ts";
import type { Initial } from "../nn/initial.ts";
import { sizeOf } from "../trace/dtype.ts";
import { treeFlatten } from "../trace/tree.ts";
import { auxiliaryPart, BIAS, EMA } from "./places.ts";
import type { Setup } from "./setup.ts";
import { expectSetup } from "./setup.ts";

/** The number of values in each part of a network in training; running statistics are not counted. */
export interface ParameterSplit {
  /** The network itself. */
  readonly backbone: number;
  /** MAN's learnable biases: trained blocks next to the averages. */
  readonly bias: number;
  /** MAN's averages, which follow blocks of the network. */
  readonly ema: number;
  /** The other auxiliary networks: classifiers, decoders. */
  readonly heads: number;
}

/**
 * Counts the parameters of a setup by purpose.
 *
 * @example
 * ```ts
 * import { local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const setup = local.setup({
 *   model: models.resnet32(),
 *   modules: 16,
 *   method: local.man(local.infopro()),
 *   optimizer: optim.sgd(),
 * });
 * const { backbone, bias, ema } = local.parameterSplit(setup);
 * assertEquals([backbone, bias, ema], [466_906, 461_120, 461_120]);
 * ```
 */
export function parameterSplit(setup: Setup): ParameterSplit {
  expectSetup("parameterSplit", setup);
  const { initial } = setup;
  const split = { backbone: 0, bias: 0, ema: 0, heads: 0 };
  const count = (tree: typeof initial.params, counted: (purpose: keyof ParameterSplit) => boolean) => {
    const { leaves, paths } = treeFlatten<Initial>(tree);
    leaves.forEach(({ shape }, i) => {
      const purpose = purposeOf(at(paths, i));
      if (counted(purpose)) split[purpose] += sizeOf(shape);
    });
  };
  count(initial.params, () => true);
  count(initial.state, (purpose) => purpose === "ema"); // the rest of the state is statistics
  return split;
}

/** Returns the purpose of a parameter, by its path. */
function purposeOf(path: string): keyof ParameterSplit {
  const part = auxiliaryPart(path);
  if (part === undefined) return "backbone";
  return part === BIAS || part === EMA ? part : "heads";
}
