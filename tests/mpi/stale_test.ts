/** MAN's tracked blocks between real processes, with a stale exchange. */
import { assert, assertEquals } from "@std/assert";
import type { Staleness } from "../../src/training/processes/stale_blocks.ts";
import { implementations, skipped, start } from "./start.ts";

const script = import.meta.resolve("./processes/stale.ts");

/** What a process reports; see `processes/stale.ts`. */
interface Report {
  readonly own: readonly number[];
  readonly tracked: readonly number[];
  readonly measured: readonly (Staleness | null)[];
}

const ROUND = 4;
for (const [mpi, processes, every] of [[implementations[0], 3, 1], [implementations[1], 2, 2]] as const) {
  Deno.test({
    name:
      `${mpi.name}: ${processes} processes track blocks sent every ${every} steps, and none waits for one`,
    ignore: skipped,
    async fn() {
      const { reports, stderr, stdout, code } = await start(mpi, { processes, script, args: [`${every}`] });
      assertEquals(code, 0, stderr + stdout);
      const found = reports as readonly Report[];
      found.forEach(({ tracked, measured }, rank) => {
        const next = found[rank + 1];
        if (next === undefined) {
          assertEquals(measured.filter((each) => each !== null), [], "the last tracks nothing");
          return;
        }
        assertEquals(new Set(next.own).size, next.own.length, "every step changes the block");
        // The bits are the sender's after some earlier number of steps, which never goes back.
        const ages = tracked.map((sum, steps) => steps - next.own.indexOf(sum));
        assert(tracked.every((sum) => next.own.includes(sum)));
        assert(ages.every((age, i) => age >= 0 && (i === 0 || age <= ages[i - 1] + 1)), `${ages}`);
        assertEquals([ages[0], ages[2 * ROUND]], [0, 0], "the first is exact, also after a pause");
        // Three steps are made before the next process begins its first of a round.
        assert(ages[2] === 2 && ages[2 * ROUND + 2] === 2, `${ages}`);
        assert(Math.max(...ages) < 2 * ROUND, `${ages}`);
        for (const [round, each] of measured.entries()) {
          const own = ages.slice(ROUND * round, ROUND * (round + 1));
          assertEquals(each, { steps: ROUND, sum: own.reduce((a, b) => a + b), most: Math.max(...own) });
        }
      });
    },
  });
}
