import { local, models, optim } from "../../mod.ts";
import type { Row } from "./row.ts";

/** What a row of ours trains. */
export function setupOf({ network, size, classes, method, k, precision }: Row) {
  return {
    model: models.modelNamed(network, { classes, ...(size === 32 ? {} : { size }) }),
    modules: k,
    method: local.methodNamed(method),
    optimizer: optim.sgd({ momentum: 0.9, nesterov: true, weightDecay: 1e-4 }),
    precision,
  };
}
