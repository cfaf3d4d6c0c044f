import { stl10 as load } from "../../../src/data/stl10.ts";
import { stl10 } from "../../dataset_files.ts";
import type { MakeTarget } from "../harness.ts";
import { checkImages } from "../images.ts";
import { damaged } from "../mutate.ts";

const files = stl10(1, 1);
const [pixels, labels] = [files["train_X.bin"], files["train_y.bin"]];

/** `stl10` on a folder with damaged images or labels. */
export const target: MakeTarget = async (folder) => {
  for (const [name, bytes] of Object.entries(files)) await Deno.writeFile(`${folder}/${name}`, bytes);
  return {
    input: (random) => damaged(random, random.percent(50) ? [pixels] : [labels]),
    async read(input) {
      const images = input.length > 1000;
      await Deno.writeFile(`${folder}/train_X.bin`, images ? input : pixels);
      await Deno.writeFile(`${folder}/train_y.bin`, images ? labels : input);
      checkImages(await load({ path: folder }));
    },
  };
};
