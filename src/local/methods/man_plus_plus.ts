import { expectOptions } from "../../base/expect.ts";
import { constantInitial } from "../../nn/initial.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { isLarge } from "../heads/heads.ts";
import type { Method } from "../method.ts";
import { expectInner } from "../method.ts";
import { withStem } from "../partition/partition.ts";
import { AVERAGE_KINDS, type AverageOptions, averageOptions } from "./block_average.ts";
import { LOOK_AHEAD_KINDS, type LookAheadOptions, lookAheadOptions } from "./look_ahead.ts";
import { momentumAuxiliary } from "./momentum_auxiliary.ts";

/** Options of {@link manPlusPlus}. */
export interface ManPlusPlusOptions extends AverageOptions, LookAheadOptions {
  /**
   * Makes the stem a separate module, in addition to the requested ones. Default as in the published runs: `true` for
   * images of up to 96×96 pixels, `false` for larger ones.
   */
  stem?: boolean;
}

/**
 * MAN++ (arXiv 2507.16279) around a method with a local loss: {@link man} with a learnable scale s at each boundary. The
 * method's networks take s · bias + (2 − s) · average. s starts at 1, which gives MAN's sum, and is trained like any
 * parameter, weight decay included. The stem is a separate module.
 *
 * @example
 * ```ts
 * import { local, models, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const method = local.manPlusPlus(local.dgl({ head: "mlp-sr-large" }));
 * const { modules } = local.setup({ model: models.resnet32(), modules: 16, method, optimizer: optim.sgd() });
 * assertEquals(modules.length, 16);
 * assertEquals(modules[0].name, "stem");
 * ```
 */
export function manPlusPlus(method: Method, options: ManPlusPlusOptions = {}): Method {
  expectInner("manPlusPlus", method);
  expectOptions("manPlusPlus", options, { ...AVERAGE_KINDS, ...LOOK_AHEAD_KINDS, stem: "boolean?" });
  const { stem } = options;
  const average = averageOptions("manPlusPlus", options);
  const lookAhead = lookAheadOptions("manPlusPlus", options, average);
  return {
    ...method,
    name: `manPlusPlus+${method.name}`,
    options: {
      ...average,
      ...(stem === undefined ? {} : { stem }),
      ...lookAhead.named,
      inner: { name: method.name, ...method.options },
    },
    recut(model, cut) {
      const own = lookAhead.recut(model, method.recut?.(model, cut) ?? cut);
      return stem ?? !isLarge(model.input) ? withStem(model, own) : own;
    },
    auxiliary: (boundary) =>
      momentumAuxiliary("manPlusPlus", method, boundary, { ...average, ahead: lookAhead.ahead }, {
        bias: true,
        ema: true,
        params: { scale: constantInitial(1, [1]) },
        fuse(params, bias, ema) {
          const scale = params["scale"] as Tensor;
          // In f32 for features of any dtype: the scale's gradient is a sum over all of them.
          const [a, b] = [bias.cast("f32"), ema.cast("f32")];
          return a.mul(scale).add(b.mul(scale.neg().add(2))).cast(bias.dtype);
        },
      }),
  };
}
