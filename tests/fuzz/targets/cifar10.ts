import { loadCifar10 } from "../../../src/data/cifar10.ts";
import { hash } from "../../fixtures/formula.ts";
import type { MakeTarget } from "../harness.ts";
import { checkImages } from "../images.ts";
import { damaged } from "../mutate.ts";

const RECORDS = 2;
const whole = Uint8Array.from(
  { length: RECORDS * 3073 },
  (_, i) => i % 3073 === 0 ? i % 10 : hash("cifar10", i) >>> 24,
);
const layout = { archive: { url: "" }, records: RECORDS, md5: {} };

/** `cifar10` on a folder with a damaged file. */
export const target: MakeTarget = async (folder) => {
  for (const name of ["test_batch.bin", ...[2, 3, 4, 5].map((n) => `data_batch_${n}.bin`)]) {
    await Deno.writeFile(`${folder}/${name}`, whole);
  }
  return {
    input: (random) => damaged(random, [whole]),
    async read(input) {
      await Deno.writeFile(`${folder}/data_batch_1.bin`, input);
      checkImages(await loadCifar10({ path: folder }, layout));
    },
  };
};
