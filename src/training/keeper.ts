import type { Configuration, Observer } from "../artifacts/observer.ts";
import { holdsRun, readRun, runFolder } from "../artifacts/run_folder.ts";
import { abridged } from "../base/decode.ts";
import { LocalgradError } from "../base/errors.ts";
import type { FitOptions } from "./fit_options.ts";
import type { Team } from "./processes/team.ts";
import type { Trainable } from "./trainable.ts";

/** Parts of a configuration that it has only if they are asked for: a run may not be resumed without them. */
const OPTIONAL = ["loss", "average", "accumulate", "batchNorm"] as const;

/**
 * The observer that keeps the run in a folder, if one is named. Resuming restores the trainer from the folder first. Only
 * process 0 looks at the folder.
 */
export async function keeper(
  trainer: Trainable,
  team: Team,
  { checkpoint, resume = false, validation }: FitOptions,
  classNames: readonly string[] | undefined,
): Promise<Observer[]> {
  if (checkpoint === undefined) {
    if (resume) {
      throw new LocalgradError("fit: resume needs the folder of a run; give it as checkpoint");
    }
    return [];
  }
  const folder = runFolder(checkpoint, {
    ...(classNames === undefined ? {} : { classNames }),
    ...(validation === undefined ? {} : { validation }),
  });
  const holds = await team.fromFirst(async () => {
    if (resume && await holdsRun(checkpoint)) return true;
    await folder.refuseUsed();
    return false;
  });
  if (!holds) return [folder];
  const { snapshot, settings } = await readRun(checkpoint, "last", { processes: team.processes });
  // Runs of earlier versions do not name their task: all were classifications.
  const before: Configuration = {
    task: "classification",
    ...snapshot.configuration,
    classNames,
    ...settings,
  };
  const current: Configuration = { ...trainer.configuration, classNames, validation };
  for (const name of new Set([...Object.keys(current), ...OPTIONAL])) {
    const then = JSON.stringify(before[name]) ?? "left out"; // undefined has no JSON
    const now = JSON.stringify(current[name]) ?? "left out";
    if (then === now) continue;
    throw new LocalgradError(
      `fit: the run in ${checkpoint} has ${name} ${abridged(then)}, not ${abridged(now)}; ` +
        `resume with the trainer and images of that run, or choose another folder`,
    );
  }
  trainer.restore(snapshot);
  return [folder];
}
