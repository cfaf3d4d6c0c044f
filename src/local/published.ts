/**
 * Settings as published for the CIFAR ResNets: where they were cut, and how InfoPro weighs its terms. Sources: the
 * configurations and READMEs of the authors' repositories, blackfeather-wang/InfoPro-Pytorch (f4e91f0) and
 * JunhaoSu0/MAN (a6d20c5).
 *
 * @module
 */

/** Names `layer<stage>.<i>` for each `i` of each stage. */
function stages(...indices: readonly (readonly number[])[]): string[] {
  return indices.flatMap((list, stage) => list.map((i) => `layer${stage + 1}.${i}`));
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

/** By network and published K: the blocks after which it is cut. The cut at the end is left out. */
export const publishedSplits: {
  readonly [model: string]: { readonly [modules: number]: readonly string[] } | undefined;
} = {
  resnet32: {
    2: stages([], [1]),
    3: stages([4], [4]),
    4: stages([2], [1], [0]),
    8: stages([0, 2, 4], [1, 3], [0, 2]),
    16: stages(upTo(5), upTo(5), upTo(4)),
  },
  resnet110: {
    // 2 to 4: the splits that even out memory (InfoPro*)
    2: stages([14]),
    3: stages([9], [2]),
    4: stages([6, 14], [8]),
    8: stages([4, 11], [0, 7, 14], [3, 10]),
    16: stages([1, 4, 7, 10, 13, 16], [1, 4, 7, 11, 15], [1, 5, 9, 13]),
    32: stages(
      [1, 2, 4, 5, 7, 9, 11, 13, 14, 16, 17],
      [1, 2, 4, 5, 7, 9, 11, 13, 14, 16, 17],
      [1, 3, 4, 6, 7, 9, 11, 13, 15],
    ),
    55: stages(upTo(18), upTo(18), upTo(17)),
  },
};

/** Weights of InfoPro's reconstruction (λ1) and task (λ2) terms: at the first boundary and at the last. */
export interface TermWeights {
  /** λ1 at the first and at the last boundary. */
  readonly reconstruction: readonly [number, number];
  /** λ2 at the first and at the last boundary. */
  readonly task: readonly [number, number];
}

function weights(first: readonly [number, number], last: readonly [number, number]): TermWeights {
  return { reconstruction: [first[0], last[0]], task: [first[1], last[1]] };
}

/** By network and published K: InfoPro's weights on CIFAR-10. */
const infoproWeights: {
  readonly [model: string]: { readonly [modules: number]: TermWeights } | undefined;
} = {
  resnet32: {
    2: weights([5, 1], [0, 0]),
    4: weights([6, 0], [1, 2]),
    8: weights([5, 0], [0, 2]),
    16: weights([5, 0.05], [0.2, 0.5]),
  },
  resnet110: {
    2: weights([5, 0.5], [0, 0]),
    4: weights([1, 0], [0, 1]),
    8: weights([5, 0], [0, 1]),
    16: weights([5, 0], [0.5, 1]),
  },
};

/**
 * InfoPro's published weights for a network cut into `modules`. Where none were published, those of the smallest
 * published K that is not below it (the largest where there is none), and those of ResNet-110 for networks of more
 * blocks than ResNet-32, of ResNet-32 for the others.
 */
export function infoproWeightsFor(
  model: { name: string; blocks: readonly unknown[] },
  modules: number,
): TermWeights {
  const table = infoproWeights[model.name] ??
    infoproWeights[model.blocks.length > 15 ? "resnet110" : "resnet32"]!;
  const counts = Object.keys(table).map(Number);
  return table[counts.find((count) => count >= modules) ?? counts[counts.length - 1]];
}

/** MAN's weights around InfoPro, for every network and K. */
export const manInfoproWeights: TermWeights = weights([5, 0.5], [0, 0]);
