import type { EpochRecord, Observer, Snapshot, StepRecord } from "../src/artifacts/observer.ts";
import { dgl } from "../src/local/methods/dgl.ts";
import { man } from "../src/local/methods/man.ts";
import { constant } from "../src/optim/schedules.ts";
import { publishedSgd } from "../src/optim/published.ts";
import { sgd } from "../src/optim/sgd.ts";
import type { Device } from "../src/runtime/arrays.ts";
import { trainer } from "../src/training/trainer.ts";
import type { TrainerOptions } from "../src/training/trainer_options.ts";
import { tinyModel } from "./tiny.ts";

type Options = Partial<TrainerOptions> & { device: Device };

/** A trainer of the tiny network: three modules, man+dgl, batches of 16. */
export const make = (options: Options) =>
  trainer({
    model: tinyModel(),
    modules: 3,
    method: man(dgl()),
    optimizer: sgd(publishedSgd),
    schedule: constant(0.05),
    batch: 16,
    ...options,
  });

/** The events of a run, in order. */
export function recorder() {
  const steps: StepRecord[] = [], epochs: EpochRecord[] = [], events: string[] = [];
  let saved: Snapshot | undefined;
  const observer: Observer = {
    start: () => void events.push("start"),
    step: (record) => void steps.push(record),
    epoch: (record) => void (epochs.push(record), events.push(`epoch ${record.epoch}`)),
    save: (snapshot, kinds) => void (saved = snapshot, events.push(`save ${kinds.join()}`)),
    end: (reason) => void events.push(reason),
  };
  return { observer, steps, epochs, events, saved: () => saved! };
}

/** Every value of a snapshot, by name. */
export const bits = (snapshot: Snapshot) =>
  Object.fromEntries([...snapshot.tensors].map(([name, { data }]) => [name, [...data]]));

/** Stops a run before its step of this number. */
export function stopBefore(step: number): AbortSignal {
  let asked = 0;
  return Object.create(new AbortController().signal, { aborted: { get: () => ++asked >= step } });
}
