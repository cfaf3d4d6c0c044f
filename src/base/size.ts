import { LocalgradError } from "./errors.ts";
import { shown } from "./expect.ts";
import { keysOf } from "./keys.ts";

const UNITS = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, kB: 1e3, MB: 1e6, GB: 1e9 } as const;

/** Reads a size in bytes, a number or text such as `512MiB`, `1.5 GiB` or `80GB`; `what` begins the message. */
export function bytesOfSize(what: string, size: number | string): number {
  const [, number, unit] = /^([0-9.]+(?:e[+]?[0-9]+)?) ?([A-Za-z]*)$/.exec(String(size)) ?? [];
  const factor = keysOf(UNITS).find((each) => each === (unit || "B"));
  const bytes = factor === undefined ? NaN : Number(number) * UNITS[factor];
  if (bytes >= 1 && Number.isFinite(bytes)) return Math.floor(bytes);
  throw new LocalgradError(`${what} must be a size such as 512MiB, 1.5GiB or 80GB, not ${shown(size)}`);
}
