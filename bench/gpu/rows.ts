/** The rows of `bench/gpu.sh`, most informative first, since time may run out. */
import { local, models, optim } from "../../mod.ts";
import type { Row } from "./row.ts";

type Step = Pick<Row, "network" | "method" | "k" | "batch" | "precision"> & { readonly size?: number };
type Mode = Row["mode"];

const MAN32 = { network: "resnet32", method: "man+dgl", k: 16, precision: "tf32" } as const;
const BP32 = { ...MAN32, method: "endToEnd", k: 1 } as const;
const MAN110 = { ...MAN32, network: "resnet110", k: 55 } as const;
const LARGE = { size: 224, batch: 64 } as const;

/** PyTorch's modes, usually fastest first, so that there is an early comparison. */
const QUICK: readonly Mode[] = ["graph", "channels_last", "reduce-overhead", "eager"];
const FULL: readonly Mode[] = [...QUICK, "max-autotune"];

/** Rows of a training step: ours, then PyTorch's. */
function rowsOf({ size = 32, ...step }: Step, modes: readonly Mode[], seconds: number): Row[] {
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
    ...modes.map((mode): Row => ({ ...row, system: "PyTorch", mode })),
  ];
}

/** ResNet-32, end to end and with MAN, in tf32: at most eight minutes. */
export function quickRows(): Row[] {
  const steps = [MAN32, BP32].flatMap((step) => [1024, 128].map((batch) => ({ ...step, batch })));
  const all = steps.map((step) => rowsOf(step, QUICK, 4));
  // Modes that compile for minutes come last.
  return [
    ...all.flatMap((rows) => rows.filter(fast)),
    ...all.flatMap((rows) => rows.filter((row) => !fast(row))),
  ];
}

const fast = ({ mode }: Row) => mode !== "reduce-overhead" && mode !== "max-autotune";

/** Everything: also ResNet-110, bfloat16, and ResNet-50 and ResNet-101 at 224 × 224. */
export function fullRows(): Row[] {
  const small = [MAN32, BP32, MAN110, { ...MAN110, method: "endToEnd", k: 1 } as const].flatMap((step) =>
    [1024, 128].flatMap((batch) =>
      (["tf32", "bf16"] as const).map((precision) => ({ ...step, batch, precision }))
    )
  );
  const large = ["resnet50", "resnet101"].flatMap((network) =>
    ([["endToEnd", 1], ["man+dgl", 4]] as const).flatMap(([method, k]) =>
      (["tf32", "bf16"] as const).map((precision) => ({ ...LARGE, network, method, k, precision }))
    )
  );
  return [...small, ...large].flatMap((step) => rowsOf(step, FULL, 8));
}

/** Tiny shapes, to run every line; the figures mean nothing. */
export function dryRows(): Row[] {
  const step = { network: "resnet8", method: "man+dgl", k: 3, batch: 4, precision: "f32" } as const;
  return rowsOf(step, ["graph", "reduce-overhead"], 0.1).map((row) => ({ ...row, withoutCard: true }));
}
