import { LocalgradError } from "../../base/errors.ts";
import type { SaveEvery } from "../../local.ts";
import type { Flag } from "./flags.ts";

/** The flag for checkpoints within an epoch. */
export const saveEveryFlag = {
  value: "N|Nm",
  help: "also save every N steps or N minutes, not only after each epoch",
} as const satisfies Flag;

/** Parses `--save-every`: `500` (steps) or `10m` (minutes). */
export function saveEveryFrom(text: string): SaveEvery {
  const [, number, minutes] = /^([0-9.]+)(m?)$/.exec(text) ?? [];
  if (minutes === "m" && Number(number) > 0) return { minutes: Number(number) };
  if (minutes === "" && Number.isSafeInteger(Number(number)) && Number(number) > 0) {
    return { steps: Number(number) };
  }
  throw new LocalgradError(
    `--save-every must be a number of steps, such as 500, or of minutes, such as 10m, not "${text}"`,
  );
}
