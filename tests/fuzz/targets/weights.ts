import { toOihw } from "../../../src/artifacts/layout.ts";
import { valuesOf } from "../../../src/artifacts/network_values.ts";
import { encodeSafetensors } from "../../../src/artifacts/safetensors.ts";
import { loadWeights } from "../../../src/artifacts/weights.ts";
import { network } from "../../../src/models/model.ts";
import type { Initial } from "../../../src/nn/initial.ts";
import { sizeOf } from "../../../src/trace/dtype.ts";
import { HostArray } from "../../../src/trace/host_array.ts";
import { treeFlatten } from "../../../src/trace/tree.ts";
import { tinyModel } from "../../tiny.ts";
import type { MakeTarget } from "../harness.ts";
import { damaged, damagedJson } from "../mutate.ts";
import { damagedFile } from "./safetensors.ts";

/** `loadWeights` on an index and files, damaged or not, then loading the result into a network. */
export const target: MakeTarget = async (folder) => {
  const model = tinyModel();
  const { params, state } = network(model);
  const tensors = new Map([params, state].flatMap((tree) => {
    const { leaves, paths } = treeFlatten<Initial>(tree);
    return paths.map((path, i): [string, HostArray] => {
      const { shape } = leaves[i];
      return [`module.${path}`, toOihw(new HostArray(new Float32Array(sizeOf(shape)), shape))];
    });
  }));
  const file = encodeSafetensors({ tensors, metadata: {} });
  await Deno.writeFile(`${folder}/0.safetensors`, file);
  const weight_map = Object.fromEntries([...tensors.keys()].map((name) => [name, "0.safetensors"]));
  const index = { metadata: { total_size: 40 }, weight_map };
  return {
    input(random) {
      if (random.percent(50)) return damagedJson(random, [index]);
      return random.percent(50) ? damaged(random, [file]) : damagedFile(random);
    },
    async read(input) {
      const path = `${folder}/${input[0] === 0x7b ? "model.safetensors.index.json" : "1.safetensors"}`;
      await Deno.writeFile(path, input);
      valuesOf(model, await loadWeights(path));
    },
  };
};
