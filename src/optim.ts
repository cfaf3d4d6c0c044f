/**
 * Optimizers, transformations of them, and learning-rate schedules.
 *
 * @module
 */

export {
  initialZeros,
  type Optimizer,
  type Parameter,
  type Scalars,
  type Slots,
  type Updated,
  zeroSlots,
} from "./optim/optimizer.ts";
export * from "./optim/sgd.ts";
export * from "./optim/adamw.ts";
export * from "./optim/lamb.ts";
export * from "./optim/lion.ts";
export * from "./optim/muon.ts";
export * from "./optim/grouped.ts";
export * from "./optim/selection.ts";
export * from "./optim/transforms.ts";
export * from "./optim/schedules.ts";
export * from "./optim/cycles.ts";
export type { Warmup } from "./optim/warmups.ts";
