import { createHash } from "node:crypto";
import { readCheckpoint, writeCheckpoint } from "../../../src/artifacts/checkpoint.ts";
import { encodeSafetensors } from "../../../src/artifacts/safetensors.ts";
import { HostArray } from "../../../src/trace/host_array.ts";
import type { MakeTarget } from "../harness.ts";
import { damaged, reshaped } from "../mutate.ts";

const snapshot = {
  step: 12,
  bestError: 0.25,
  tensors: new Map([
    ["conv1.weight", new HostArray(Float32Array.from({ length: 24 }, (_, i) => i), [2, 1, 3, 4])],
    ["fc.bias", new HostArray(Float32Array.of(1, 2, 3))],
  ]),
  configuration: { model: "resnet8", method: { name: "dgl", momentum: 0.995 }, seed: 3, batch: 32 },
};
const settings = { dataset: "shapes", model: "resnet8", method: "dgl", modules: 3, batch: 32, epochs: 2 };
const header = { version: 1, step: 12, bestError: 0.25, configuration: snapshot.configuration, settings };

/** `readCheckpoint` on damaged files, and on wrong headers with a correct checksum. */
export const target: MakeTarget = async (folder) => {
  const path = `${folder}/last.safetensors`;
  await writeCheckpoint(path, { snapshot, settings });
  const valid = await Deno.readFile(path);
  return {
    input(random) {
      if (random.percent(50)) return damaged(random, [valid]);
      const localgrad = reshaped(random, header);
      const sha256 = createHash("sha256").update(localgrad).digest("hex");
      return encodeSafetensors({ tensors: new Map(), metadata: { localgrad, sha256 } });
    },
    async read(input) {
      await Deno.writeFile(path, input);
      const { snapshot, settings } = await readCheckpoint(path);
      if (!Number.isSafeInteger(snapshot.step)) throw new Error(`accepted with step ${snapshot.step}`);
      JSON.stringify([snapshot.configuration, settings]);
    },
  };
};
