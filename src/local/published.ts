/**
 * Where networks were cut in the published runs. Sources: the configurations and READMEs of the authors' repositories,
 * blackfeather-wang/InfoPro-Pytorch (f4e91f0) and JunhaoSu0/MAN (a6d20c5).
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
