/**
 * The rows of tables: networks and methods to train, with their published figures.
 *
 * @module
 */

import type { DatasetName } from "../../data/datasets.ts";
import type { Cut } from "../cut.ts";
import type { GivenOptions } from "../flags/method.ts";
import type { MethodName, ModelName } from "../settings.ts";

/** Sources of figures, by mark. */
export const marks = {
  P: "the authors' own repository",
  S: "a digest that reprints the paper's table",
  S2: "two independent places",
  D: "calculated from published differences",
} as const;

/** A published figure. */
export interface Published {
  /** The paper of the table. */
  readonly from: "MAN" | "InfoPro";
  /** Test error in percent; for ImageNet the top-1 error on the validation images. */
  readonly error: number;
  /** Its standard deviation over trials. */
  readonly spread?: number;
  /** Top-5 error. */
  readonly topFive?: number;
  /** The kind of source. */
  readonly mark: keyof typeof marks;
}

/** A row of a table: a network to train with a method. */
export interface Row {
  /** Its name on the command line, such as `resnet32-k16-man+dgl`. */
  readonly name: string;
  /** The network. */
  readonly model: ModelName;
  /** Its cut. */
  readonly modules: Cut;
  /** The method that trains it. */
  readonly method: MethodName;
  /** Options of the method other than its defaults. */
  readonly options?: GivenOptions;
  /** Published figures, if any were found. */
  readonly published: readonly Published[];
  /** Default number of seeds, if it is not three. */
  readonly seeds?: number;
}

/** A table. */
export interface Table {
  /** Its heading. */
  readonly title: string;
  /** Its data set. */
  readonly dataset: DatasetName;
  /** Differences from the published recipe of the data set, whose learning rate is scaled with the batch. */
  readonly recipe?: {
    readonly epochs: number;
    readonly batch: number;
    readonly trainLimit: number;
    readonly lr?: number;
  };
  /** The folder of the repository that keeps the results of finished runs, which are not run again. */
  readonly kept?: string;
  /** Its rows, in the order of the runs. */
  readonly rows: readonly Row[];
}

/** MAN as in its authors' code: averages start at random values, and InfoPro's weights are scheduled by stage. */
const manAsPublished: { readonly [method: string]: GivenOptions | undefined } = {
  "man+dgl": { start: "random" },
  "man+predsim": { start: "random" },
  "man+infopro": { start: "random", schedule: "stage" },
};

/** Makes a row named by network, K and method. */
export function row(model: ModelName, k: number, method: MethodName, ...published: Published[]): Row {
  const name = method === "endToEnd" ? `${model}-endToEnd` : `${model}-k${k}-${method}`;
  // MAN's splits of ResNet-110 into 2 and 4 balance memory; InfoPro's tables use splits that are even by layers.
  const modules = model === "resnet110" && (k === 2 || k === 4) ? infoproSplit("infopro", k) : k;
  const options = manAsPublished[method];
  return { name, model, modules, method, ...(options === undefined ? {} : { options }), published };
}

function infoproSplit(published: "infopro" | "infopro*", modules: number): Cut {
  return { published, modules };
}

/** Makes a variant of a row with other options and a suffix to its name. */
export function variant({ name, ...row }: Row, suffix: string, options: GivenOptions): Row {
  return { ...row, name: `${name}-${suffix}`, options: { ...row.options, ...options } };
}

/** Makes a row of InfoPro with its contrastive loss. */
export function contrastive(model: ModelName, k: number, published: Published): Row {
  return variant(row(model, k, "infopro", published), "contrastive", { task: "contrastive" });
}

/** A figure from the paper on MAN. */
export const man = (error: number, mark: Published["mark"] = "S"): Published => ({
  from: "MAN",
  error,
  mark,
});
/** A figure from the paper on InfoPro. */
export const infopro = (error: number, spread?: number): Published => (
  { from: "InfoPro", error, ...(spread === undefined ? {} : { spread }), mark: "P" }
);
/** A figure of top-1 and top-5 errors. */
export const topOneFive = (
  from: Published["from"],
  error: number,
  topFive: number,
  mark: Published["mark"],
): Published => ({ from, error, topFive, mark });

/** Gives a row InfoPro's cut that balances memory. */
export function starred(row: Row): Row {
  return { ...row, modules: infoproSplit("infopro*", 2) };
}

/** Gives a row the defaults of its method, so that MAN's averages start as copies. */
export function plain({ options: _asPublished, ...row }: Row): Row {
  return row;
}

/** Makes a row of the small comparison: one residual block per module, one seed, the methods' defaults. */
export function small(method: MethodName): Row {
  return { ...plain(row("resnet20", 9, method)), seeds: 1 };
}
