import type { Initial } from "../nn/initial.ts";
import { sizeOf } from "../trace/dtype.ts";
import { treeFlatten } from "../trace/tree.ts";
import type { Setup } from "./setup.ts";
import { expectSetup } from "./setup.ts";

/** How many values each part of a network in training has; running statistics are not counted. */
export interface ParameterSplit {
  /** The network itself. */
  readonly backbone: number;
  /** MAN's learnable biases: trained blocks beside the averages. */
  readonly bias: number;
  /** MAN's averages, which are moved but not trained. */
  readonly ema: number;
  /** The other auxiliary networks: classifiers, decoders. */
  readonly heads: number;
}

/**
 * Counts the parameters of a setup by what they are for.
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
  const count = (tree: typeof initial.params, counted: (place: keyof ParameterSplit) => boolean) => {
    const { leaves, paths } = treeFlatten<Initial>(tree);
    leaves.forEach(({ shape }, i) => {
      const place = placeOf(paths[i]);
      if (counted(place)) split[place] += sizeOf(shape);
    });
  };
  count(initial.params, () => true);
  count(initial.state, (place) => place === "ema"); // the rest of the state is statistics
  return split;
}

/** What a parameter is for, by its path: `local.<boundary>.<part>…` hangs on a boundary. */
function placeOf(path: string): keyof ParameterSplit {
  const [root, , part] = path.split(".");
  if (root !== "local") return "backbone";
  return part === "bias" || part === "ema" ? part : "heads";
}
