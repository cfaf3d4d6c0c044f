import { LocalgradError } from "../base/errors.ts";
import { expectBetween, expectOptions, expectWhole } from "../base/expect.ts";
import { formatAval } from "../trace/dtype.ts";
import { normalInitial } from "./initial.ts";
import { type Layer, layer } from "./layer.ts";

/** The tokens that bf16, with its 8 bits, tells apart: 0 to 256. */
const BF16_TOKENS = 257;

/** Options of {@link embedding}. */
export interface EmbeddingSpec {
  /** The number of rows: one for each token. */
  vocabulary: number;
  /** Values of each row. */
  width: number;
  /** Standard deviation of the starting rows; default 1, as PyTorch's. */
  std?: number;
}

/**
 * A table with a learned row for each token: `[batch, …]` → f32 `[batch, …, width]`. Tokens are whole numbers from 0,
 * i32, u32 or f32, and are clamped into the vocabulary; tokens in bf16, up to 256, give rows in bf16. `weight` is `[vocabulary, width]`. Its gradient adds the rows of
 * equal tokens in a fixed order, so it has the same bits every time.
 *
 * @throws {LocalgradError} if an extent is not a whole number of at least 1, `std` is negative, or, when applied, for
 * tokens in bf16, which has not all whole numbers above 256, of a larger vocabulary.
 *
 * @example
 * ```ts
 * import { devices, jit, nn, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const table = nn.embedding({ vocabulary: 3, width: 2 });
 * await using device = await devices.open("reference");
 * using weight = device.array([0, 1, 10, 11, 20, 21], [3, 2]);
 * const look = jit((weight: Tensor, tokens: Tensor) => table.apply({ weight }, {}, tokens, "train").y, { device });
 * using rows = look(weight, Int32Array.of(2, 0));
 * assertEquals([...await rows.read()], [20, 21, 0, 1]);
 * ```
 */
export function embedding(spec: EmbeddingSpec): Layer {
  expectOptions("embedding", spec, { vocabulary: "number", width: "number", std: "number?" });
  const { vocabulary, width, std = 1 } = spec;
  expectWhole("embedding: vocabulary", vocabulary);
  expectWhole("embedding: width", width);
  expectBetween("embedding: std", std, 0);
  return layer({
    params: { weight: normalInitial(std, [vocabulary, width]) },
    apply({ weight }, state, x) {
      if (x.dtype === "bf16" && vocabulary > BF16_TOKENS) {
        throw new LocalgradError(
          `embedding: the tokens ${
            formatAval(x)
          } are in bf16, which has not all whole numbers above 256, and there ` +
            `are ${vocabulary} tokens; use precision "f32"`,
        );
      }
      const y = weight.gather(x.dtype === "u32" ? x : x.cast("i32"));
      return { y: x.dtype === "bf16" ? y.cast("bf16") : y, state };
    },
  });
}
