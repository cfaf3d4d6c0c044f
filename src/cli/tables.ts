/**
 * The published tables as data: which networks, cuts and methods they compare, and the figures they give. Test errors
 * are in percent. Sources: MAN is Su et al., ECCV 2024 (arXiv 2407.05623); InfoPro is Wang et al., ICLR 2021 (arXiv
 * 2101.10832), its softmax variant where nothing is said. A figure's mark says where it was read.
 *
 * @module
 */

import type { DatasetName } from "../data/datasets.ts";
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
  /** K as published, which names the published cut; or the blocks to cut after. */
  readonly modules: number | readonly string[];
  /** What trains it. */
  readonly method: MethodName;
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
  /** What differs from the data set's published recipe. */
  readonly recipe?: {
    readonly epochs: number;
    readonly batch: number;
    readonly lr: number;
    readonly trainLimit: number;
  };
  /** Its rows, in the order they are run. */
  readonly rows: readonly Row[];
}

/** The cut that a row is named by. */
type Cut = { readonly k: number; readonly after?: readonly string[] };

function row(model: ModelName, cut: number | Cut, method: MethodName, ...published: Published[]): Row {
  const { k, after } = typeof cut === "number" ? { k: cut } : cut;
  const name = method === "endToEnd" ? `${model}-endToEnd` : `${model}-k${k}-${method}`;
  return { name, model, modules: method === "endToEnd" ? 1 : after ?? k, method, published };
}

const man = (error: number, mark: Published["mark"] = "S"): Published => ({ from: "MAN", error, mark });
const infopro = (error: number, spread?: number): Published => (
  { from: "InfoPro", error, ...(spread === undefined ? {} : { spread }), mark: "P" }
);
const topOneFive = (from: Published["from"], error: number, topFive: number, mark: Published["mark"]) => (
  { from, error, topFive, mark } satisfies Published
);

const cifar10: Table = {
  title: "CIFAR-10",
  dataset: "cifar10",
  rows: [
    row("resnet32", 1, "endToEnd", man(6.37, "S2"), infopro(7.37, 0.10)),
    row("resnet32", 8, "dgl", man(11.63), infopro(14.17, 0.28)),
    row("resnet32", 8, "man+dgl", man(8.42)),
    row("resnet32", 8, "infopro", man(11.51), infopro(11.40, 0.25)),
    row("resnet32", 8, "man+infopro", man(9.32)),
    row("resnet32", 16, "dgl", man(14.08, "S2"), infopro(16.21, 0.36)),
    row("resnet32", 16, "man+dgl", man(9.11)),
    row("resnet32", 16, "infopro", man(12.93, "S2"), infopro(14.23, 0.42)),
    row("resnet32", 16, "man+infopro", man(9.65)),
    row("resnet32", 2, "greedy", infopro(10.30, 0.20)),
    row("resnet32", 4, "greedy", infopro(16.07, 0.46)),
    row("resnet32", 8, "greedy", infopro(21.19, 0.52)),
    row("resnet32", 16, "greedy", infopro(24.59, 0.83)),
    row("resnet32", 2, "dgl", infopro(8.69, 0.12)),
    row("resnet32", 4, "dgl", infopro(11.48, 0.20)),
    row("resnet32", 2, "infopro", infopro(8.13, 0.23)),
    row("resnet32", 4, "infopro", infopro(8.64, 0.25)),
    row("resnet110", 1, "endToEnd", man(5.42, "S2"), infopro(6.50, 0.34)),
    row("resnet110", 32, "dgl", man(12.51)),
    row("resnet110", 32, "man+dgl", man(9.65)),
    row("resnet110", 32, "infopro", man(12.26)),
    row("resnet110", 32, "man+infopro", man(9.06)),
    row("resnet110", 55, "dgl", man(14.45, "S2")),
    row("resnet110", 55, "man+dgl", man(9.73)),
    row("resnet110", 55, "infopro", man(13.22, "S2")),
    row("resnet110", 55, "man+infopro", man(9.77)),
    row("resnet110", 2, "greedy", infopro(8.21, 0.24)),
    row("resnet110", 4, "greedy", infopro(13.16, 0.28)),
    row("resnet110", 8, "greedy", infopro(15.61, 0.57)),
    row("resnet110", 16, "greedy", infopro(18.92, 1.27)),
    row("resnet110", 2, "dgl", infopro(7.70, 0.28)),
    row("resnet110", 4, "dgl", infopro(10.50, 0.11)),
    row("resnet110", 8, "dgl", infopro(12.46, 0.37)),
    row("resnet110", 16, "dgl", infopro(13.80, 0.15)),
    row("resnet110", 2, "infopro", infopro(7.01, 0.34)),
    row("resnet110", 4, "infopro", infopro(7.96, 0.06)),
    row("resnet110", 8, "infopro", infopro(9.40, 0.27)),
    row("resnet110", 16, "infopro", infopro(10.78, 0.28)),
  ],
};

/** MAN's own figures on SVHN and STL-10 were not found anywhere; its rows stand without one. */
const svhn: Table = {
  title: "SVHN",
  dataset: "svhn",
  rows: [
    row("resnet110", 1, "endToEnd", infopro(3.07, 0.23)),
    row("resnet110", 2, "greedy", infopro(3.71)),
    row("resnet110", 4, "greedy", infopro(5.39)),
    row("resnet110", 8, "greedy", infopro(5.75)),
    row("resnet110", 16, "greedy", infopro(6.37)),
    row("resnet110", 2, "dgl", infopro(3.61)),
    row("resnet110", 4, "dgl", infopro(4.97)),
    row("resnet110", 8, "dgl", infopro(5.35)),
    row("resnet110", 16, "dgl", infopro(5.55)),
    row("resnet110", 2, "infopro", infopro(3.41)),
    row("resnet110", 4, "infopro", infopro(3.72)),
    row("resnet110", 8, "infopro", infopro(4.67)),
    row("resnet110", 16, "infopro", infopro(5.14)),
    row("resnet110", 16, "man+dgl"),
    row("resnet110", 16, "man+infopro"),
    row("resnet32", 16, "man+dgl"),
    row("resnet32", 16, "man+infopro"),
    row("resnet110", 55, "man+dgl"),
    row("resnet110", 55, "man+infopro"),
  ],
};

const stl10: Table = {
  title: "STL-10",
  dataset: "stl10",
  rows: [
    row("resnet110", 1, "endToEnd", infopro(22.27, 1.61)),
    row("resnet110", 2, "greedy", infopro(25.56)),
    row("resnet110", 4, "greedy", infopro(27.97)),
    row("resnet110", 8, "greedy", infopro(29.07)),
    row("resnet110", 16, "greedy", infopro(30.38)),
    row("resnet110", 2, "dgl", infopro(24.96)),
    row("resnet110", 4, "dgl", infopro(26.77)),
    row("resnet110", 8, "dgl", infopro(27.33)),
    row("resnet110", 16, "dgl", infopro(27.73)),
    row("resnet110", 2, "infopro", infopro(21.02)),
    row("resnet110", 4, "infopro", infopro(21.28)),
    row("resnet110", 8, "infopro", infopro(23.60)),
    row("resnet110", 16, "infopro", infopro(26.05)),
    row("resnet110", 16, "man+dgl"),
    row("resnet110", 16, "man+infopro"),
    row("resnet32", 16, "man+dgl"),
    row("resnet32", 16, "man+infopro"),
    row("resnet110", 55, "man+dgl"),
    row("resnet110", 55, "man+infopro"),
  ],
};

/** CIFAR-10, ResNet-32, K = 16, around dgl: with which of MAN's two blocks. Nobody published the bias alone. */
const ablation: Table = {
  title: "Ablation of MAN: CIFAR-10, ResNet-32, K = 16",
  dataset: "cifar10",
  rows: [
    row("resnet32", 16, "dgl", man(14.08, "S2")),
    row("resnet32", 16, "man+dgl", man(9.11)),
  ],
};

/** The tables by their names on the command line. */
export const tables: { readonly [name: string]: Table } = { cifar10, svhn, stl10, ablation };
