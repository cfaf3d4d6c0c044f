import type { BlockAge, Choice, HeldMemory, RunInfo } from "../artifacts/observer.ts";
import type { WayWithinLimit } from "../local/limit/limit.ts";
import type { PlannedWay } from "../local/limit/way.ts";
import type { Schedule } from "../optim/schedules.ts";
import type { Device } from "../runtime/arrays.ts";
import { remarksOn } from "./remarks.ts";
import type { RunParts } from "./run_parts.ts";

/** What observers are told of a run when it starts. */
export function infoOf(
  { trainer, position, feed, epochs, dataset, classNames, validationImages }: RunParts,
): RunInfo {
  return {
    configuration: trainer.configuration,
    epochs,
    stepsPerEpoch: feed.stepsPerEpoch,
    imagesPerEpoch: feed.imagesPerEpoch,
    firstStep: position.step,
    resumed: trainer.resumed,
    modules: trainer.setup.partition.modules.map((module) => module.name),
    ...choiceOf(trainer.chosen),
    memory: trainer.memory,
    devices: position.devices,
    dataset,
    learningRate: highestRate(trainer.schedule, epochs, feed.stepsPerEpoch),
    ...(classNames === undefined ? {} : { classNames }),
    ...(validationImages === undefined ? {} : { validationImages }),
    ...remarksOn(trainer.schedule, epochs, feed.stepsPerEpoch),
  };
}

/** The highest rate in the first and the last steps of all epochs. */
function highestRate(schedule: Schedule, epochs: number, stepsPerEpoch: number): number {
  let highest = 0;
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const step of [epoch * stepsPerEpoch, (epoch + 1) * stepsPerEpoch - 1]) {
      const rate = schedule(epoch, { step, stepsPerEpoch });
      if (rate > highest && Number.isFinite(rate)) highest = rate; // a wrong one is refused when its step comes
    }
  }
  return highest;
}

/** The memory that a device holds, of which `dataBytes` are the data set's. */
export function heldMemory({ backend }: Device, dataBytes: number): HeldMemory {
  const driver = backend.driverMemory?.();
  const residentBytes = backend.residentMemory?.();
  return {
    bytes: backend.liveBytes,
    dataBytes,
    ...(driver === undefined ? {} : { driver }),
    ...(residentBytes === undefined ? {} : { residentBytes }),
  };
}

/**
 * The age of tracked blocks since the last call, in all processes, which call it together; undefined unless the exchange is
 * stale.
 */
export function blockAge({ team, stepper }: Pick<RunParts, "team" | "stepper">): BlockAge | undefined {
  if (team.division?.own.part?.staleEvery === undefined) return undefined;
  const { steps, sum, most } = stepper.staleness() ?? { steps: 0, sum: 0, most: 0 };
  const totals = Int32Array.of(steps, sum);
  team.sum(totals);
  const [count = 0, ages = 0] = totals;
  const oldest = team.most(most);
  return count === 0 ? undefined : { mean: ages / count, most: oldest };
}

/** What was chosen within a memory limit, for the record of a run. */
function choiceOf(chosen: WayWithinLimit | undefined): { readonly choice?: Choice } {
  if (chosen === undefined) return {};
  const words = ({ description, peakBytes }: PlannedWay) => ({ description, peakBytes });
  const { limit, reserve, next } = chosen;
  return {
    choice: {
      limit,
      ...(reserve === undefined ? {} : { reserve }),
      ...words(chosen),
      ...(next === undefined ? {} : { next: words(next) }),
    },
  };
}
