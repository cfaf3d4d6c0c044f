import { LocalgradError } from "../base/errors.ts";
import { shown } from "../base/expect.ts";

/** Refuses a signal that is not an AbortSignal, which would never stop anything; `who` begins the message. */
export function expectSignal(who: string, signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new LocalgradError(
    `${who}: signal must be an AbortSignal, not ${shown(signal)}; take the signal of an AbortController`,
  );
}
