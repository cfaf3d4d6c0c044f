/** The training steps that are timed on a card, most informative first. */
import { local, models, optim } from "../../mod.ts";
import type { Row } from "./row.ts";

type Step = Pick<Row, "network" | "method" | "k" | "batch" | "precision"> & {
  readonly size?: number;
  /** True to time it with overlap too. */
  readonly overlap?: boolean;
};
type Mode = Row["mode"];

const MAN32 = { network: "resnet32", method: "man+dgl", k: 16 } as const;
const BP32 = { ...MAN32, method: "endToEnd", k: 1 } as const;
const MAN110 = { ...MAN32, network: "resnet110", k: 55 } as const;
const MAN50 = { network: "resnet50", method: "man+dgl", k: 4, size: 224, batch: 64 } as const;

/** PyTorch's modes that do not compile for minutes, the fastest as a rule first. */
const FAST: readonly Mode[] = ["graph", "channels_last"];

/** Rows of a training step: ours, in one or both modes, then PyTorch's. */
function rowsOf(
  { size = 32, overlap = false, ...step }: Step,
  modes: readonly Mode[],
  seconds: number,
): Row[] {
  const classes = size === 32 ? 10 : 1000;
  const { modules } = local.setup({
    model: models.modelNamed(step.network, { classes, ...(size === 32 ? {} : { size }) }),
    modules: step.k,
    method: local.methodNamed(step.method),
    optimizer: optim.sgd(),
  });
  const names = modules.map(({ blocks }) => blocks.map(({ name }) => name));
  const row = { ...step, size, classes, modules: names, seconds };
  return [
    { ...row, system: "localgrad", mode: "graph" },
    ...(overlap ? [{ ...row, system: "localgrad", mode: "overlap" } as const] : []),
    ...modes.map((mode): Row => ({ ...row, system: "PyTorch", mode })),
  ];
}

/**
 * The MAN step of ResNet-32 at both batches in both precisions, with overlap too where launches are short; PyTorch's
 * compiled mode comes last, for one of them.
 */
export function speedRows(): Row[] {
  const steps: Step[] = [
    { ...MAN32, batch: 1024, precision: "tf32" },
    { ...MAN32, batch: 128, precision: "tf32", overlap: true },
    { ...MAN32, batch: 1024, precision: "bf16" },
    { ...MAN32, batch: 128, precision: "bf16" },
  ];
  const [first] = steps;
  const compiled = rowsOf(first!, ["max-autotune"], 4).filter(({ system }) => system === "PyTorch");
  return [...steps.flatMap((step) => rowsOf(step, FAST, 4)), ...compiled];
}

/** End to end beside it, ResNet-110, and ResNet-50 at 224 × 224. */
export function moreRows(): Row[] {
  const steps: Step[] = [
    { ...MAN110, batch: 1024, precision: "tf32" },
    { ...MAN50, precision: "bf16" },
    { ...BP32, batch: 1024, precision: "tf32" },
    { ...MAN110, batch: 128, precision: "tf32" },
  ];
  return steps.flatMap((step) => rowsOf(step, ["graph"], 3));
}

/** Tiny shapes, to run every line; the figures mean nothing. */
export function dryRows(): Row[] {
  const step = { network: "resnet8", method: "man+dgl", k: 3, batch: 4, precision: "f32" } as const;
  return rowsOf({ ...step, overlap: true }, ["graph", "max-autotune"], 0.1).map((row) => ({
    ...row,
    withoutCard: true,
  }));
}
