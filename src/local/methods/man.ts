import { LocalgradError } from "../../base/errors.ts";
import { expectObject } from "../../base/expect.ts";
import type { Method } from "../method.ts";
import { expectMethod } from "../method.ts";
import { AVERAGE_KINDS, type AverageOptions, averageOptions, behindMomentum } from "./momentum_auxiliary.ts";

/** Options of {@link man}. */
export interface ManOptions extends AverageOptions {
  /** What is put in front of the inner method's networks: both blocks, summed (default), or one of them. */
  fusion?: "sum" | "emaOnly" | "biasOnly";
}

/**
 * Momentum Auxiliary Network (Su et al., ECCV 2024, arXiv 2407.05623) around a method that judges features, such as
 * `dgl()` or `infopro()`. In front of that method's networks go two blocks like the one behind the boundary: its
 * exponential moving average, which is never trained but lets the gradient through, and a learnable bias, which is
 * trained; their outputs are summed. The average moves after the module's backward pass and before its update, toward
 * the tracked block's parameters as they were when the step began; options have the other ways that were published.
 *
 * @example
 * ```ts
 * import { local } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * // The ablation of the paper: the average alone, started as a draw of its own.
 * const method = local.man(local.dgl(), { fusion: "emaOnly", start: "random" });
 * assertEquals(method.name, "man+dgl");
 * ```
 */
export function man(method: Method, options: ManOptions = {}): Method {
  expectMethod("man", method);
  expectObject("man", options, { ...AVERAGE_KINDS, fusion: "string?" });
  const { fusion = "sum" } = options;
  const average = averageOptions("man", options);
  if (method.auxiliary === undefined) {
    throw new LocalgradError(
      `man: ${method.name} has no local loss to put it in front of; wrap dgl() or infopro()`,
    );
  }
  if (!["sum", "emaOnly", "biasOnly"].includes(fusion)) {
    throw new LocalgradError(
      `man: there is no fusion ${JSON.stringify(fusion)}; choose "sum", "emaOnly" or "biasOnly"`,
    );
  }
  const idle = (["average", "moves", "statistics"] as const).find((name) => options[name] !== undefined);
  if (fusion === "biasOnly" && idle !== undefined) {
    throw new LocalgradError(
      `man: with fusion "biasOnly" there is no average for ${idle} to say anything about`,
    );
  }
  return {
    ...method,
    name: `man+${method.name}`,
    options: { ...average, fusion, inner: { name: method.name, ...method.options } },
    auxiliary: (boundary) =>
      behindMomentum(method, boundary, "man", average, {
        bias: fusion !== "emaOnly",
        ema: fusion !== "biasOnly",
        fuse: (_params, bias, ema) => bias === undefined ? ema! : ema === undefined ? bias : bias.add(ema),
      }),
  };
}
