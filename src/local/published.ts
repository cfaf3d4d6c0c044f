/**
 * The cuts of networks in the published runs. Sources: the configurations of the authors' repositories,
 * blackfeather-wang/InfoPro-Pytorch (a38362a), JunhaoSu0/MAN (a6d20c5; the first upload, 3eee558, for ImageNet with
 * K = 4, which later ones lack) and JunhaoSu0/MAN_PlusPlus (7b2d8a9).
 *
 * @module
 */

import { keysOf } from "../base/keys.ts";
import { LocalgradError } from "../base/errors.ts";
import type { Model } from "../models/model.ts";

/** The blocks after which a network is cut, by K, without the cut at the end. */
type Splits = { readonly [modules: number]: readonly string[] | undefined };

/** Lists the names `layer<stage>.<i>` for each `i` of each stage. */
function stages(...indices: readonly (readonly number[])[]): string[] {
  return indices.flatMap((list, stage) => list.map((i) => `layer${stage + 1}.${i}`));
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

const resnet32: Splits = {
  2: stages([], [1]),
  3: stages([4], [4]),
  4: stages([2], [1], [0]),
  8: stages([0, 2, 4], [1, 3], [0, 2]),
  16: stages(upTo(5), upTo(5), upTo(4)),
};

/** The splits of ResNet-110 that even out memory, on CIFAR-10 and, under `@96`, on STL-10's larger images. */
const balanced = {
  "resnet110": { 2: stages([14]), 3: stages([9], [2]), 4: stages([6, 14], [8]) },
  "resnet110@96": { 3: stages([8], [1]) },
};

const evenResnet110: Splits = {
  2: stages([], [8]),
  3: stages([17], [17]),
  4: stages([11], [7], [3]),
  8: stages([4, 11], [0, 7, 14], [3, 10]),
  16: stages([1, 4, 7, 10, 13, 16], [1, 4, 7, 11, 15], [1, 5, 9, 13]),
};

const manSmall = {
  resnet32,
  ...balanced,
  resnet110: {
    ...evenResnet110,
    ...balanced.resnet110,
    32: stages(
      [1, 2, 4, 5, 7, 9, 11, 13, 14, 16, 17],
      [1, 2, 4, 5, 7, 9, 11, 13, 14, 16, 17],
      [1, 3, 4, 6, 7, 9, 11, 13, 15],
    ),
    55: stages(upTo(18), upTo(18), upTo(17)),
  },
};

/** MAN++'s cut of vision transformers with 12 blocks. */
const vit: Splits = { 4: [2, 5, 8].map((i) => `encoder.layers.encoder_layer_${i}`) };

const published: { readonly [name in SplitName]: { readonly [model: string]: Splits } } = {
  "man": {
    ...manSmall,
    resnet34: { 2: stages([], [0]), 4: stages([], [0], [0, 5]) },
    resnet101: { 2: stages([], [0]), 4: stages([], [], [0, 9, 17]) },
    resnet152: { 2: stages([], [5]), 4: stages([], [], [0, 9, 17]) },
    resnext101_32x8d: { 2: stages([], [0]), 4: stages([], [], [0, 9, 17]) },
  },
  "man++": {
    ...manSmall,
    resnet34: { 2: stages([], [0]) },
    resnet101: { 2: stages([], [0]), 4: stages([], [2], [8, 16]) },
    resnet152: { 2: stages([], [5]), 4: stages([], [6], [13, 25]) },
    resnext101_32x8d: { 2: stages([], [0]), 4: stages([], [2], [8, 16]) },
    vitTiny: vit,
    vitSmall: vit,
    vitBase: vit,
  },
  "infopro": { resnet32, resnet110: evenResnet110 },
  "infopro*": {
    ...balanced,
    resnet101: { 2: stages([], [0]) },
    resnet152: { 2: stages([], [5]) },
    resnext101_32x8d: { 2: stages([], [2]) },
    deeplabv3_resnet101: { 2: ["backbone.layer3.12"] },
  },
};

/**
 * The publication of a split: `man`, `man++`, `infopro` (even by layers) or `infopro*` (even by memory). MAN's splits of
 * ResNet-110 into 2 to 4 modules are those of `infopro*`.
 */
export type SplitName = "man" | "man++" | "infopro" | "infopro*";

/** The publications of splits; a number of modules alone takes the first that has it. */
export const splitNames: readonly SplitName[] = keysOf(published);

function splitsOf({ name, input }: Model, by: SplitName): Splits {
  const networks: { readonly [model: string]: Splits | undefined } = published[by];
  const sized = "features" in input ? {} : networks[`${name}@${input.height}`];
  return { ...networks[name], ...sized };
}

/** Returns the blocks after which a publication, or the first that has it, cut `model` for K = `modules`; else undefined. */
export function publishedSplit(
  model: Model,
  modules: number,
  by?: SplitName,
): { readonly by: SplitName; readonly after: readonly string[] } | undefined {
  for (const name of by === undefined ? splitNames : [by]) {
    const after = splitsOf(model, name)[modules];
    if (after !== undefined) return { by: name, after };
  }
  return undefined;
}

/** Makes the error for a split that was not published, which lists those that were. */
export function unpublished(model: Model, modules: number, by: SplitName): LocalgradError {
  if (!splitNames.includes(by)) {
    return new LocalgradError(
      `partition: there are no splits of ${JSON.stringify(by)}; choose one of ${splitNames.join(", ")}`,
    );
  }
  const known = splitNames.flatMap((name) => {
    const counts = Object.keys(splitsOf(model, name));
    return counts.length === 0 ? [] : [`${name} K = ${counts.join(", ")}`];
  });
  const those = known.length === 0
    ? `${model.name} has none: give K alone, or blocks to cut after`
    : `there are ${known.join("; ")}`;
  return new LocalgradError(
    `partition: ${by} published no split of ${model.name} for K = ${modules}; ${those}`,
  );
}
