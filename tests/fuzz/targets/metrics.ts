import { MetricsWriter, readMetrics } from "../../../src/artifacts/metrics.ts";
import { report } from "../../../src/artifacts/report.ts";
import { measured } from "../../../src/cli/reproduce/results.ts";
import type { MakeTarget } from "../harness.ts";
import { damagedLines } from "../mutate.ts";

const step = (n: number) => ({ kind: "step", step: n, losses: [1 / n, 2], accuracy: 0.5, learningRate: 0.1 });
const epoch = (n: number) => ({
  kind: "epoch",
  epoch: n,
  testError: 0.5,
  topFiveError: 0.1,
  testLoss: 2,
  imagesPerSecond: 100,
  plannedPeakBytes: 3000,
  held: { bytes: 4000, dataBytes: 1000, driver: { usedBytes: 5000, takenBytes: 4096 }, residentBytes: 6000 },
  loading: { imagesPerSecond: 50, waiting: 0.1 },
});
const lines = [step(1), step(2), epoch(1), step(3), step(4), epoch(2)];

const memory = { peakBytes: 3000, arenaBytes: 2000, breakdown: {}, heldAtPeak: [], timeline: [] };
const info = {
  configuration: { model: "resnet8", method: { name: "dgl" } },
  epochs: 3,
  stepsPerEpoch: 2,
  imagesPerEpoch: 64,
  firstStep: 0,
  resumed: false,
  modules: ["a", "b"],
  memory: { method: memory, endToEnd: memory },
};

/** `readMetrics`, and resuming a run and writing its report from the accepted records. */
export const target: MakeTarget = (folder) => {
  const path = `${folder}/metrics.jsonl`;
  return {
    input: (random) => damagedLines(random, lines),
    async read(input) {
      await Deno.writeFile(path, input);
      const accepted = await readMetrics(path);
      const { writer, lines } = await MetricsWriter.open(path, 3, 2);
      writer[Symbol.dispose]();
      measured(accepted);
      if (input.length % 8 === 0) report([{ info, lines, settings: {} }]); // the slowest part
    },
  };
};
