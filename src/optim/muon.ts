import { expectBetween, expectObject, expectOptions, expectWhole, shown } from "../base/expect.ts";
import { LocalgradError } from "../base/errors.ts";
import { sizeOf } from "../trace/dtype.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { type Tree, treeMap } from "../trace/tree.ts";
import { adamw } from "./adamw.ts";
import { entry } from "./entry.ts";
import { grouped } from "./grouped.ts";
import { normOf } from "./norm.ts";
import {
  described,
  initialZeros,
  type Optimizer,
  type Parameter,
  type Scalars,
  type Slots,
} from "./optimizer.ts";

/** Options of {@link muon}. */
export interface MuonOptions {
  /** Share of the average gradient that a step keeps; default 0.95. */
  momentum?: number;
  /** Uses Nesterov momentum; default true. */
  nesterov?: boolean;
  /** Each step scales parameters by 1 − learningRate·weightDecay, separately from the gradient; default 0.1. */
  weightDecay?: number;
  /**
   * The scale of an orthogonalised step of `rows` × `columns`, by the names of `torch.optim.Muon`: `matchRmsAdamW` is
   * 0.2·√max(rows, columns), which gives steps the root mean square of AdamW's, so that both take one learning rate
   * (Liu et al., 2025, arXiv 2502.16982); `original` is √max(1, rows / columns). Default `matchRmsAdamW`.
   */
  scale?: "matchRmsAdamW" | "original";
  /** Newton–Schulz iterations; default 5. */
  iterations?: number;
  /** True for the parameters that Muon updates, which must have two axes or more; default {@link hiddenMatrix}. */
  matrices?: (parameter: Parameter) => boolean;
  /** The optimizer of the other parameters, at the same learning rate; default `adamw({ weightDecay: 0 })`. */
  others?: Optimizer;
}

const SCALES = {
  matchRmsAdamW: (rows: number, columns: number) => 0.2 * Math.sqrt(Math.max(rows, columns)),
  original: (rows: number, columns: number) => Math.sqrt(Math.max(1, rows / columns)),
} as const;

/** A parameter of a classifier: of a layer `fc`, `head` or `classifier`, or of a layer numbered within `classifier`. */
const CLASSIFIER = /(?:^|\.)(?:(?:fc|head|classifier)|classifier\.\d+)\.[^.]+$/;

/**
 * True for filters and the weights of linear layers, but not for classifiers: layers named `fc`, `head` or `classifier`, or
 * numbered within `classifier`, as the library calls those of its networks and of its auxiliary networks. Embeddings of
 * positions and the like, which have three axes, are none either. What {@link muon} updates by default.
 *
 * @example
 * ```ts
 * import { optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const filter = { path: "layer1.0.conv1.weight", shape: [16, 3, 3, 16] };
 * const classifier = { path: "local.0.classifier.fc.weight", shape: [10, 16] };
 * const norm = { path: "bn1.weight", shape: [16] };
 * assertEquals([filter, classifier, norm].map(optim.hiddenMatrix), [true, false, false]);
 * ```
 */
export function hiddenMatrix(parameter: Parameter): boolean {
  expectObject("hiddenMatrix", parameter, { path: "string", shape: "array" });
  const { path, shape } = parameter;
  return (shape.length === 2 || shape.length === 4) && !CLASSIFIER.test(path);
}

/**
 * Muon (Jordan et al., 2024, kellerjordan.github.io/posts/muon), in the order of `torch.optim.Muon`: the average gradient
 * of a matrix is replaced by a nearly orthogonal matrix with the same row and column spaces. m = momentum·m +
 * (1 − momentum)·g; u = nesterov ? (1 − momentum)·g + momentum·m : m; p *= 1 − learningRate·weightDecay;
 * p −= learningRate · scale · orthogonalised(u), by five Newton–Schulz iterations with PyTorch's coefficients, in f32
 * (PyTorch uses bfloat16).
 *
 * The rows of a matrix are outputs: a linear weight `[out, in]` is taken as it is, and a filter `[out, height, width,
 * in]` as out × (height·width·in). Vectors and classifiers are updated by `others`.
 *
 * @example
 * ```ts
 * import { devices, local, models, optim } from "@localgrad/localgrad";
 * import { assert } from "@std/assert";
 *
 * await using device = await devices.open("cpu");
 * using trainer = await local.trainer({
 *   device,
 *   model: models.resnet8(),
 *   modules: 3,
 *   method: local.dgl(),
 *   optimizer: optim.muon({ weightDecay: 0.01, others: optim.adamw({ weightDecay: 0 }) }),
 *   schedule: optim.constant(1e-3),
 *   batch: 32,
 * });
 * const names = [...(await trainer.snapshot()).tensors.keys()];
 * assert(names.includes("optimizer.momentum.conv1.weight")); // Muon's
 * assert(names.includes("optimizer.square.bn1.weight") && names.includes("optimizer.square.fc.weight")); // AdamW's
 * ```
 */
export function muon(options: MuonOptions = {}): Optimizer {
  expectOptions("muon", options, {
    momentum: "number?",
    nesterov: "boolean?",
    weightDecay: "number?",
    scale: "string?",
    iterations: "number?",
    matrices: "function?",
    others: "object?",
  });
  const { matrices = hiddenMatrix, others = adamw({ weightDecay: 0 }), ...own } = options;
  const rule = grouped((parameter) => matrices(parameter) ? "matrices" : "others", {
    matrices: ofMatrices(own),
    others,
  });
  return { ...rule, name: "muon", options: { ...ofMatrices(own).options, others: described(others) } };
}

/** Muon for matrices alone. */
function ofMatrices(options: Omit<MuonOptions, "matrices" | "others">): Optimizer {
  const { momentum = 0.95, nesterov = true, weightDecay = 0.1, scale = "matchRmsAdamW", iterations = 5 } =
    options;
  expectBetween("muon: momentum", momentum, 0, 1);
  expectBetween("muon: weight decay", weightDecay, 0);
  expectWhole("muon: iterations", iterations);
  if (!Object.hasOwn(SCALES, scale)) {
    throw new LocalgradError(`muon: scale must be ${Object.keys(SCALES).join(" or ")}, not ${shown(scale)}`);
  }
  const average = (m: Tensor, g: Tensor) => m.mul(momentum).add(g.mul(1 - momentum));
  return {
    name: "muon",
    options: { momentum, nesterov, weightDecay, scale, iterations },
    slots: (params) => ({ momentum: initialZeros(params) }),
    scalars: (_step, learningRate) => ({ learningRate, keep: 1 - learningRate * weightDecay }),
    update<P>(params: P, gradients: P, slots: Slots<Tensor>, scalars: Scalars<Operand>) {
      const [learningRate, keep] = [entry("muon", scalars, "learningRate"), entry("muon", scalars, "keep")];
      const [p, g] = [params, gradients] as [Tree<Tensor>, Tree<Tensor>];
      const velocity = treeMap(average, entry("muon", slots, "momentum"), g);
      const move = (p: Tensor, g: Tensor, m: Tensor) => {
        const [rows = 1, ...rest] = p.shape;
        const matrix = (nesterov ? average(m, g) : m).reshape(rows, sizeOf(rest));
        const step = orthogonalised(matrix, iterations).mul(SCALES[scale](rows, sizeOf(rest)));
        return p.mul(keep).sub(step.reshape(...p.shape).mul(learningRate));
      };
      return { params: treeMap(move, p, g, velocity) as P, slots: { momentum: velocity } };
    },
  };
}

/** The quintic of `torch.optim.Muon`: a·x + b·x³ + c·x⁵, which takes singular values in (0, 1] to about 1. */
const [A, B, C] = [3.4445, -4.775, 2.0315];
const EPSILON = 1e-7;

/** Replaces the singular values of a matrix by values near 1, by Newton–Schulz iterations on its shorter side. */
function orthogonalised(matrix: Tensor, iterations: number): Tensor {
  const [rows = 1, columns = 1] = matrix.shape;
  const tall = rows > columns;
  let x = tall ? matrix.transpose(1, 0) : matrix;
  x = x.div(normOf([x]).maximum(EPSILON));
  for (let i = 0; i < iterations; i++) {
    const gram = x.matmul(x, { transposeB: true });
    x = x.mul(A).add(gram.mul(B).add(gram.matmul(gram).mul(C)).matmul(x));
  }
  return tall ? x.transpose(1, 0) : x;
}
