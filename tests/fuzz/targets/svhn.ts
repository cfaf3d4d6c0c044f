import { loadSvhn } from "../../../src/data/svhn.ts";
import { fixtures } from "../../dataset_files.ts";
import type { MakeTarget } from "../harness.ts";
import { checkImages } from "../images.ts";
import { damaged } from "../mutate.ts";

const [train, test] = ["train_32x32.mat", "test_32x32.mat"];
const files = [train, test].map((name) => Deno.readFileSync(`${fixtures}/svhn/${name}`));
const published = { [train]: { images: 1000, md5: "" }, [test]: { images: 1000, md5: "" } };

/** `svhn` on a folder with a damaged file. */
export const target: MakeTarget = async (folder) => {
  await Deno.writeFile(`${folder}/${test}`, files[1]);
  return {
    input: (random) => damaged(random, files),
    async read(input) {
      await Deno.writeFile(`${folder}/${train}`, input);
      checkImages(await loadSvhn({ path: folder }, { url: "", published }));
    },
  };
};
