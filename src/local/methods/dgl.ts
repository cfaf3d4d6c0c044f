import { expectOptions, expectWhole } from "../../base/expect.ts";
import type { DglHead } from "../heads/heads.ts";
import { patched } from "../heads/patches.ts";
import { dglHeadFor } from "../heads/pixel_heads.ts";
import { classified, type Method, refuseDense } from "../method.ts";

/** Options of {@link dgl}. */
export interface DglOptions {
  /** The auxiliary network; default `mlp-sr`, DGL's own. MAN++'s is `mlp-sr-large`. See {@link dglHead}. */
  head?: DglHead;
  /**
   * Divides the features into n×n patches, on which the auxiliary network runs one after the other; its logits are averaged
   * (HPFF's patch feature fusion). Default 1, whole features.
   */
  patches?: number;
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
  expectOptions("dgl", options, { head: "string?", patches: "number?" });
  const { head = "mlp-sr", patches = 1 } = options;
  expectWhole("dgl: patches", patches);
  return {
    name: "dgl",
    options: { head, ...(patches === 1 ? {} : { patches }) },
    auxiliary({ features, model }) {
      if (patches > 1) refuseDense("dgl: patches, whose logits are averaged,", model);
      return classified(
        patched("dgl", (patch) => dglHeadFor(model, head, patch), features, patches),
      );
    },
  };
}
