import { openReproduction } from "../../../src/cli/reproduce/reproduction.ts";
import type { MakeTarget } from "../harness.ts";
import { damagedJson } from "../mutate.ts";

const identity = {
  table: "ablation",
  device: "cpu",
  dataset: "cifar10",
  batch: 128,
  epochs: 20,
  lr: 0.1,
  methodOptions: { momentum: 0.995, fusion: "sum" },
};

/** `reproduction.json`, compared with the command's flags. */
export const target: MakeTarget = (folder) => ({
  input: (random) => damagedJson(random, [identity]),
  async read(input) {
    await Deno.writeFile(`${folder}/reproduction.json`, input);
    (await openReproduction(folder, identity))[Symbol.dispose]();
  },
});
