import { resultsIn } from "../../../src/cli/reproduce/reproduction.ts";
import { html, markdown } from "../../../src/cli/reproduce/results_table.ts";
import { tables } from "../../../src/cli/reproduce/tables.ts";
import type { MakeTarget } from "../harness.ts";
import { damagedJson } from "../mutate.ts";

const finished = {
  finalError: 0.1,
  bestError: 0.09,
  bestEpoch: 3,
  topFive: { final: 0.01, best: 0.01 },
  imagesPerSecond: 100,
  seconds: 60,
  plannedPeakBytes: 3000,
  endToEndPeakBytes: 6000,
  heldBytes: 4000,
  driverBytes: 5000,
  residentBytes: 6000,
  modules: 3,
  parameters: { backbone: 1000, bias: 10, ema: 20, heads: 30 },
  devices: [{ arithmetic: "cpu, WebAssembly", firstStep: 0 }],
};

/** A reproduction's `result.json`, from which tables are written. */
export const target: MakeTarget = async (folder) => {
  await Deno.mkdir(`${folder}/seed0`);
  const table = tables["ablation"];
  const heading = { table, settings: [], deviations: [] };
  return {
    input: (random) => damagedJson(random, [finished, finished, { failed: "diverged" }]),
    async read(input) {
      await Deno.writeFile(`${folder}/seed0/result.json`, input);
      const rows = [{ row: table.rows[0], seeds: 1, results: await resultsIn(folder) }];
      markdown(heading, rows);
      html(heading, rows);
    },
  };
};
