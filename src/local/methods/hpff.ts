import { expectOptions } from "../../base/expect.ts";
import type { Method } from "../method.ts";
import { CASCADE_KINDS, cascaded, type CascadeOptions } from "./cascaded.ts";

/** Options of {@link hpff}. */
export interface HpffOptions extends CascadeOptions {}

/**
 * Hierarchical locally supervised learning (HPFF; Su et al., ECCV 2024, arXiv 2407.05638) around a method with a local loss,
 * such as `dgl()` or `infopro()`. The loss after a module trains it together with the one before, so that every module but
 * the last learns what the next one needs; a loss of each module alone counts a thousandth. The first module has no loss of its
 * own. Patch feature fusion, the paper's other part, is the option `patches` of `dgl()` and `infopro()`.
 *
 * A cascade takes the activations of two modules at once. Each module runs forward once and backward one and a half times.
 *
 * @example
 * ```ts
 * import { local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const method = local.hpff(local.dgl());
 * const { modules } = local.setup({ model: models.resnet8(), modules: 3, method, optimizer: optim.sgd() });
 * assertEquals(modules.map(({ auxiliary }) => Object.keys(auxiliary?.params ?? {})), [[], ["classifier", "alone"], []]);
 * ```
 */
export function hpff(method: Method, options: HpffOptions = {}): Method {
  expectOptions("hpff", options, CASCADE_KINDS);
  const made = cascaded("hpff", method, options);
  return {
    ...method,
    ...made,
    name: `hpff+${method.name}`,
    options: { ...made.options, inner: { name: method.name, ...method.options } },
  };
}
