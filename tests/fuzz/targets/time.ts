import { formatTime } from "../../../src/artifacts/format.ts";
import { secondsIn } from "../../../src/cli/reproduce/reproduction.ts";
import type { MakeTarget } from "../harness.ts";
import { damagedJson } from "../mutate.ts";

/** The `time.json` of a run of a reproduction. */
export const target: MakeTarget = (folder) => ({
  input: (random) => damagedJson(random, [{ seconds: 12.5 }]),
  async read(input) {
    await Deno.writeFile(`${folder}/time.json`, input);
    formatTime(await secondsIn(`${folder}/time.json`));
  },
});
