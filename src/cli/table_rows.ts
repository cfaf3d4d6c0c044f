/**
 * What a table is made of: rows, each something to train, with the figures published for it.
 *
 * @module
 */

import type { DatasetName } from "../data/datasets.ts";
import type { Cut } from "./cut.ts";
import type { GivenOptions } from "./method_flags.ts";
import type { MethodName, ModelName } from "./settings.ts";

/** Where a figure was read, by its mark. */
export const marks = {
  P: "the authors' own repository",
  S: "a digest that reprints the paper's table",
  S2: "two independent places",
  D: "derived by arithmetic from published differences",
} as const;

/** A published figure. */
export interface Published {
  /** Whose table it is of. */
  readonly from: "MAN" | "InfoPro";
  /** Test error in percent; on ImageNet the top-1 error of the validation images. */
  readonly error: number;
  /** Its standard deviation over trials. */
  readonly spread?: number;
  /** Top-5 error. */
  readonly topFive?: number;
  /** How it is known. */
  readonly mark: keyof typeof marks;
}

/** A row of a table: something to train. */
export interface Row {
  /** Its name on the command line, such as `resnet32-k16-man+dgl`. */
  readonly name: string;
  /** The network. */
  readonly model: ModelName;
  /** How it is cut: by K as published, or by whose published split. */
  readonly modules: Cut;
  /** What trains it. */
  readonly method: MethodName;
  /** Options of the method that are not its defaults. */
  readonly options?: GivenOptions;
  /** Figures to hold ours against; empty where none was found. */
  readonly published: readonly Published[];
  /** How many seeds by default, where it is not the usual three. */
  readonly seeds?: number;
}

/** A table. */
export interface Table {
  /** Its heading. */
  readonly title: string;
  /** What is trained on. */
  readonly dataset: DatasetName;
  /** What differs from the data set's published recipe, whose learning rate goes in proportion to the batch. */
  readonly recipe?: { readonly epochs: number; readonly batch: number; readonly trainLimit: number };
  /** Its rows, in the order they are run. */
  readonly rows: readonly Row[];
}

/** MAN as its authors' code has it: averages start as draws of their own, and InfoPro's weights go by stage. */
const manAsPublished: { readonly [method: string]: GivenOptions | undefined } = {
  "man+dgl": { start: "random" },
  "man+predsim": { start: "random" },
  "man+infopro": { start: "random", schedule: "stage" },
};

/** A row named by network, K and method. */
export function row(model: ModelName, k: number, method: MethodName, ...published: Published[]): Row {
  const name = method === "endToEnd" ? `${model}-endToEnd` : `${model}-k${k}-${method}`;
  // MAN's few cuts of ResNet-110 even out memory; InfoPro's tables are of those that are even by layers.
  const modules = model === "resnet110" && (k === 2 || k === 4) ? infoproSplit("infopro", k) : k;
  const options = manAsPublished[method];
  return { name, model, modules, method, ...(options === undefined ? {} : { options }), published };
}

function infoproSplit(published: "infopro" | "infopro*", modules: number): Cut {
  return { published, modules };
}

/** A row with options of its own, which its name tells. */
export function variant({ name, ...row }: Row, suffix: string, options: GivenOptions): Row {
  return { ...row, name: `${name}-${suffix}`, options: { ...row.options, ...options } };
}

/** InfoPro's rows with its contrastive loss. */
export function contrastive(model: ModelName, k: number, published: Published): Row {
  return variant(row(model, k, "infopro", published), "contrastive", { task: "contrastive" });
}

/** A figure of MAN's. */
export const man = (error: number, mark: Published["mark"] = "S"): Published => ({
  from: "MAN",
  error,
  mark,
});
/** A figure of InfoPro's. */
export const infopro = (error: number, spread?: number): Published => (
  { from: "InfoPro", error, ...(spread === undefined ? {} : { spread }), mark: "P" }
);
/** Top-1 and top-5 errors. */
export const topOneFive = (
  from: Published["from"],
  error: number,
  topFive: number,
  mark: Published["mark"],
): Published => ({ from, error, topFive, mark });

/** A row of InfoPro's with the cut that evens out memory. */
export function starred(row: Row): Row {
  return { ...row, modules: infoproSplit("infopro*", 2) };
}

/** A row with the defaults of its method, so that MAN's averages start as copies. */
export function plain({ options: _asPublished, ...row }: Row): Row {
  return row;
}

/** A row of the small comparison: one residual block a module, a single seed, the methods' defaults. */
export function small(method: MethodName): Row {
  return { ...plain(row("resnet20", 9, method)), seeds: 1 };
}
