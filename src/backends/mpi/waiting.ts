import { LocalgradError } from "../../base/errors.ts";

/** How long to wait, and how. */
export interface Patience {
  /** Whether the processes of this machine have more threads than it has cores, so that spinning takes time from others. */
  readonly crowded: boolean;
  /** Seconds after which to give up; undefined waits for ever. */
  readonly limit?: number | undefined;
  /** True once this process has given up on the others: then nothing is waited for. */
  abandoned?: boolean;
}

/** Milliseconds of testing without a pause, where there is a core for each thread. */
const SPIN = 1;

/** Milliseconds of the shortest and the longest pause; between them a pause is this share of the time waited so far. */
const SHORTEST = 0.02, LONGEST = 0.5, SHARE = 1 / 20;

/** A word that nobody writes: waiting for its change is a sleep. */
const never = new Int32Array(new SharedArrayBuffer(4));

/** Sleeps, for milliseconds. */
export function pause(milliseconds: number): void {
  Atomics.wait(never, 0, 0, milliseconds);
}

/**
 * Tests until `done` is true: without a pause at first, then with pauses. MPI itself spins for as long as it waits,
 * and makes progress only while it is called; a collective call takes several rounds, each of which may cost a pause.
 *
 * @throws {LocalgradError} after the time limit, with what `describe` says it waited for.
 */
export function waitUntil(done: () => boolean, patience: Patience, describe: () => string): void {
  const { crowded, limit } = patience;
  if (patience.abandoned || done()) return;
  const start = performance.now();
  const spin = crowded ? 0 : SPIN;
  while (!done()) {
    const waited = expectInTime(start, limit, describe);
    if (waited < spin) continue;
    pause(Math.min(Math.max(SHORTEST, waited * SHARE), LONGEST));
  }
}

/**
 * Tests until `done` is true, once in each turn of the event loop and then once a millisecond, for work that timers,
 * signals and the device go on beside.
 *
 * @throws {LocalgradError} after the time limit, as {@link waitUntil} does.
 */
export async function untilDone(
  done: () => boolean,
  patience: Patience,
  describe: () => string,
): Promise<void> {
  const start = performance.now();
  for (let tries = 0; !patience.abandoned && !done(); tries++) {
    expectInTime(start, patience.limit, describe);
    await new Promise<void>((resolve) => setTimeout(resolve, tries < TURNS ? 0 : 1));
  }
}

/** Turns of the event loop before the first pause. */
const TURNS = 8;

/** Returns the milliseconds since `start`; throws after the time limit. */
function expectInTime(start: number, limit: number | undefined, describe: () => string): number {
  const waited = performance.now() - start;
  if (limit === undefined || waited <= limit * 1000) return waited;
  throw new LocalgradError(
    `${describe()} took more than ${limit} s: another process has not made the matching call, or has stopped`,
  );
}
