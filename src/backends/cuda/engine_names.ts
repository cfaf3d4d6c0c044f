import { LocalgradError } from "../../base/errors.ts";
import { shown } from "../../base/expect.ts";

/** How CUDA chooses among cuDNN's engines for a convolution. */
export type Engines = "timed" | "heuristic";

/** The ways to choose, the default first. */
export const engineNames: readonly Engines[] = ["timed", "heuristic"];

/** The way of this name. Throws a LocalgradError if there is none. */
export function enginesNamed(name: string = "timed"): Engines {
  const found = engineNames.find((each) => each === name);
  if (found !== undefined) return found;
  throw new LocalgradError(`devices.open: engines must be ${engineNames.join(" or ")}, not ${shown(name)}`);
}
