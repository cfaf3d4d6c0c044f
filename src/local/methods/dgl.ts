import { expectOptions } from "../../base/expect.ts";
import { type DglHead, dglHead } from "../heads/heads.ts";
import { classified, type Method } from "../method.ts";

/** Options of {@link dgl}. */
export interface DglOptions {
  /** The auxiliary network; default `mlp-sr`, DGL's own. MAN++'s is `mlp-sr-large`. See {@link dglHead}. */
  head?: DglHead;
}

/**
 * Decoupled Greedy Learning (Belilovsky et al., 2020, arXiv 1901.08164): a small classifier gives each module its loss.
 *
 * @example
 * ```ts
 * import { local } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(local.dgl({ head: "cnn" }).options, { head: "cnn" });
 * ```
 */
export function dgl(options: DglOptions = {}): Method {
  expectOptions("dgl", options, { head: "string?" });
  const { head = "mlp-sr" } = options;
  return {
    name: "dgl",
    options: { head },
    auxiliary: ({ features, model }) => classified(dglHead(head, features, model.classes)),
  };
}
