import type { BlockAge, HeldMemory, RunInfo } from "../artifacts/observer.ts";
import type { Device } from "../runtime/arrays.ts";
import { remarksOn } from "./remarks.ts";
import type { RunParts } from "./run_parts.ts";

/** What observers are told of a run when it starts. */
export function infoOf(
  { trainer, position, feed, epochs, classNames, validationImages }: RunParts,
): RunInfo {
  return {
    configuration: trainer.configuration,
    epochs,
    stepsPerEpoch: feed.stepsPerEpoch,
    imagesPerEpoch: feed.imagesPerEpoch,
    firstStep: position.step,
    resumed: trainer.resumed,
    modules: trainer.setup.partition.modules.map((module) => module.name),
    memory: trainer.memory,
    devices: position.devices,
    ...(classNames === undefined ? {} : { classNames }),
    ...(validationImages === undefined ? {} : { validationImages }),
    ...remarksOn(trainer.schedule, epochs, feed.stepsPerEpoch),
  };
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
