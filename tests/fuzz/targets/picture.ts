import { Decoders, LIMITS } from "../../../src/data/folder/decoders.ts";
import { fixtures } from "../../dataset_files.ts";
import type { MakeTarget } from "../harness.ts";
import { damaged } from "../mutate.ts";

const SIZE = 8;
const folderOf = `${fixtures}/images`;
const seeds = [...Deno.readDirSync(folderOf)].map(({ name }) => name).sort()
  .map((name) => Deno.readFileSync(`${folderOf}/${name}`));

/** Pictures in every format. Damage may change their size, so the limits are low. */
export const target: MakeTarget = (folder) => {
  const decoders = new Decoders(1, { ...LIMITS, side: 4096, area: 1 << 20, memory: 1 << 26 });
  const path = `${folder}/x`;
  return {
    input: (random) => damaged(random, seeds),
    async read(input) {
      await Deno.writeFile(path, input);
      const { length } = await decoders.decode({ path, size: SIZE });
      if (length !== SIZE * SIZE * 3) throw new Error(`${length} bytes`);
    },
    end: () => decoders[Symbol.asyncDispose](),
    milliseconds: LIMITS.seconds * 1000 + 2000,
  };
};
