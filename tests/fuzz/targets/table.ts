import { fromFileUrl } from "@std/path";
import { columnsOf, readRows } from "../../../src/data/parquet/rows.ts";
import { Table } from "../../../src/data/parquet/tables.ts";
import type { MakeTarget } from "../harness.ts";
import { damaged } from "../mutate.ts";

const fixtures = fromFileUrl(new URL("../../fixtures/parquet", import.meta.url));
const seeds = ["codecs/none", "codecs/snappy", "codecs/zstd", "codecs/gzip", "hub/data/train-00000-of-00002"]
  .map((name) => Deno.readFileSync(`${fixtures}/${name}.parquet`));

/** Parquet tables of images. */
export const target: MakeTarget = (folder) => {
  const path = `${folder}/x.parquet`;
  return {
    input: (random) => damaged(random, seeds),
    async read(input) {
      await Deno.writeFile(path, input);
      using table = await Table.open(path);
      const columns = columnsOf(table, {});
      table.bytesOf(columns.image);
      const { files, labels } = await readRows([table], columns, undefined, 1 << 24);
      if (files.length !== labels.length || files.some(({ bytes }) => !bytes?.length)) {
        throw new Error("wrong rows");
      }
    },
  };
};
