import { LocalgradError } from "../base/errors.ts";
import { expectOptions, expectWhole } from "../base/expect.ts";
import { embedding } from "../nn/embedding.ts";
import { normalInitial } from "../nn/initial.ts";
import { parameterLayer } from "../nn/layer.ts";
import { layerNorm } from "../nn/layer_norm.ts";
import { linear } from "../nn/linear.ts";
import { transformerBlock } from "../nn/transformer.ts";
import type { Block, Model } from "./model.ts";

/** Options of {@link languageModel}. */
export interface LanguageModelOptions {
  /** Tokens of a window, at least 2: the longest context. */
  length: number;
  /** The number of tokens that there are; default 256, bytes. */
  vocabulary?: number;
  /** Values of each token; a multiple of `heads`. Default 128. */
  width?: number;
  /** Heads of each attention; default 4. */
  heads?: number;
  /** The number of blocks; default 4. */
  blocks?: number;
}

/** The most tokens that f32, in which inputs are kept, tells apart. */
const MOST = 2 ** 24;

/**
 * A causal language model: learned embeddings of tokens and of their positions, transformer blocks with layer normalisation
 * before each part and attention to earlier tokens only (Radford et al., 2019, GPT-2), layer normalisation, and a linear
 * layer of its own. It takes windows of tokens `[batch, length]`, and gives for every token the logits of the next one,
 * `[batch, length, vocabulary]`, which depend on that token and those before it. It can be cut after any block, and be
 * trained end to end, by `greedy()`, or by `man(greedy())`, whose classifiers are causal too.
 *
 * Windows are of one length, and a context is never longer. The memory of attention grows with the square of the length up
 * to 512 tokens, then linearly (see `nn.multiHeadAttention`); that of a module's classifier with length × vocabulary.
 * Tokens are f32 inputs, and precision `bf16` is refused for a vocabulary above 257: bf16 tells 0 to 256 apart.
 *
 * @throws {LocalgradError} if an extent is out of range.
 *
 * @example
 * ```ts
 * import { data, devices, local, models, optim } from "@localgrad/localgrad";
 * import { assert } from "@std/assert";
 *
 * const text = data.text("to be or not to be, ".repeat(50), { length: 16, test: "not to be or to be, " });
 * await using device = await devices.open("cpu");
 * using trainer = await local.trainer({
 *   device,
 *   model: models.languageModel({ length: 16, width: 16, heads: 2, blocks: 2 }),
 *   modules: 2,
 *   method: local.man(local.greedy()),
 *   optimizer: optim.adamw(),
 *   schedule: optim.constant(0.01),
 *   batch: 16,
 * });
 * const { last } = await trainer.fit(text, { epochs: 8, observers: [] });
 * assert(last!.loss / Math.LN2 < 4, "fewer bits a byte than letters drawn evenly from 16");
 * ```
 */
export function languageModel(options: LanguageModelOptions): Model {
  expectOptions("languageModel", options, {
    length: "number",
    vocabulary: "number?",
    width: "number?",
    heads: "number?",
    blocks: "number?",
  });
  const { length, vocabulary = 256, width = 128, heads = 4, blocks = 4 } = options;
  expectWhole("languageModel: length", length, 2);
  expectWhole("languageModel: vocabulary", vocabulary, 2, MOST);
  for (const [name, extent] of Object.entries({ width, heads, blocks })) {
    expectWhole(`languageModel: ${name}`, extent);
  }
  if (width % heads !== 0) {
    throw new LocalgradError(`languageModel: a width of ${width} cannot be divided into ${heads} heads`);
  }
  return {
    name: "languageModel",
    input: { features: length },
    classes: vocabulary,
    summary: "each",
    stem: {
      tokens: embedding({ vocabulary, width, std: 0.02 }),
      positions: parameterLayer(
        normalInitial(0.02, [1, length, width]),
        (positions, x) => x.add(positions.cast(x.dtype)),
      ),
    },
    blocks: Array.from({ length: blocks }, (_, i): Block => ({
      name: `blocks.${i}`,
      layer: transformerBlock({ width, heads, causal: true }),
    })),
    head: {
      norm: layerNorm({ features: width, epsilon: 1e-6 }),
      next: linear({ in: width, out: vocabulary, std: 0.02 }),
    },
  };
}
