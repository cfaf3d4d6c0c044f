import { at } from "../base/at.ts";
import type { Schedule } from "./plan.ts";

/** Bytes that a step reads or writes: the first one, and the one after the last. */
export interface Use {
  readonly key: string;
  readonly range: readonly [start: number, end: number];
  readonly isWritten: boolean;
}

/** Checks that no step writes memory that one which may run at the same time reads or writes; `uses` are the steps'. */
export function verifySchedule(
  { streams, until }: Schedule,
  uses: readonly (readonly Use[])[],
  fail: (why: string) => never,
): void {
  until.forEach((last, s) => {
    for (let other = s + 1; other <= last; other++) {
      if (streams[other] === streams[s]) continue;
      const shared = at(uses, s).find((a) => at(uses, other).some((b) => conflict(a, b)));
      if (shared !== undefined) {
        fail(`steps ${s} and ${other} may run at the same time, and share memory in ${shared.key}`);
      }
    }
  });
}

function conflict(a: Use, b: Use): boolean {
  return (a.isWritten || b.isWritten) && a.key === b.key && a.range[0] < b.range[1] &&
    b.range[0] < a.range[1];
}
