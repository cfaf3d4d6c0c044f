/**
 * The cuts of networks in the published runs. Sources: the configurations of the authors' repositories,
 * blackfeather-wang/InfoPro-Pytorch (a38362a), JunhaoSu0/MAN (a6d20c5; the first upload, 3eee558, for ImageNet with
 * K = 4, which later ones lack) and JunhaoSu0/MAN_PlusPlus (7b2d8a9). DenseNet and VGG, of which InfoPro's repository has
 * no configuration, are cut by its rule.
 *
 * @module
 */

import { at } from "../../base/at.ts";
import { keysOf } from "../../base/keys.ts";
import { LocalgradError } from "../../base/errors.ts";
import type { Model } from "../../models/model.ts";

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
 * ResNet-110 into 2 to 4 modules are those of `infopro*`. `infopro` also cuts DenseNets and VGGs, into any number of modules
 * with as many layers each; those cuts are ours, by its rule.
 */
export type SplitName = "man" | "man++" | "infopro" | "infopro*";

/** The publications of splits; a number of modules alone takes the first that has it. */
export const splitNames: readonly SplitName[] = keysOf(published);

/** The layers that InfoPro would count, by network: where its code has no split, ours has as many in each module. */
const COUNTED: { readonly [name: string]: RegExp | undefined } = {
  densenetBc100: /denselayer/, // in the paper's tables, K = 2 to 16; its cuts are not published
  densenet121: /denselayer/,
  ...Object.fromEntries(
    [11, 13, 16, 19].flatMap((depth) => ["", "_bn"].map((norm) => [`vgg${depth}${norm}`, /^features\./])),
  ),
};

/** The indices of the blocks with which InfoPro's rule may end a module: of each layer, or of what is between it and the next. */
function layerEnds({ name, blocks }: Model, by: SplitName): readonly number[] {
  const counted = by === "infopro" ? COUNTED[name] : undefined;
  if (counted === undefined) return [];
  const starts = blocks.flatMap((block, i) => counted.test(block.name) ? [i] : []);
  return starts.map((_, i) => (starts[i + 1] ?? blocks.length) - 1);
}

/** A split by InfoPro's rule, as many layers in each module, of a network for which its code has none. */
function evenByLayers(model: Model, modules: number, by: SplitName): readonly string[] | undefined {
  const ends = layerEnds(model, by);
  if (!Number.isInteger(modules) || modules < 2 || modules > ends.length) return undefined;
  return Array.from({ length: modules - 1 }, (_, i) => {
    const layers = Math.floor((i + 1) * ends.length / modules);
    return at(model.blocks, at(ends, layers - 1)).name;
  });
}

/** Where a publication, or its rule, cuts a network. */
export interface NamedSplit {
  /** The publication. */
  readonly by: SplitName;
  /** The blocks after which it cuts. */
  readonly after: readonly string[];
  /** True if only the rule is the publication's, and the split is this library's. */
  readonly ours?: boolean;
}

function splitsOf({ name, input }: Model, by: SplitName): Splits {
  const networks: { readonly [model: string]: Splits | undefined } = published[by];
  const sized = "features" in input ? {} : networks[`${name}@${input.height}`];
  return { ...networks[name], ...sized };
}

/**
 * Returns the blocks after which a publication cut `model` for K = `modules`, or, where it has no split but a rule, those that
 * follow from its rule. Without a publication, those of the first that has such a split. Else undefined.
 */
export function publishedSplit(model: Model, modules: number, by?: SplitName): NamedSplit | undefined {
  for (const name of by === undefined ? splitNames : [by]) {
    const after = splitsOf(model, name)[modules];
    if (after !== undefined) return { by: name, after };
  }
  const after = by && evenByLayers(model, modules, by);
  return by === undefined || after === undefined ? undefined : { by, after, ours: true };
}

/** Makes the error for a split that was not published, which lists those that were. */
export function unpublished(model: Model, modules: number, by: SplitName): LocalgradError {
  if (!splitNames.includes(by)) {
    return new LocalgradError(
      `partition: there are no splits of ${JSON.stringify(by)}; choose one of ${splitNames.join(", ")}`,
    );
  }
  const known = splitNames.flatMap((name) => {
    const most = layerEnds(model, name).length;
    const counts = [...Object.keys(splitsOf(model, name)), ...(most > 1 ? [`2 to ${most}`] : [])];
    return counts.length === 0 ? [] : [`${name} K = ${counts.join(", ")}`];
  });
  const those = known.length === 0
    ? `${model.name} has none: give K alone, or blocks to cut after`
    : `there are ${known.join("; ")}`;
  return new LocalgradError(
    `partition: ${by} published no split of ${model.name} for K = ${modules}; ${those}`,
  );
}
