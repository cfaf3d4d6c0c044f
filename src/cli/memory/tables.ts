import { at } from "../../base/at.ts";
import type { Precision } from "../../compile/plan.ts";
import type * as local from "../../local.ts";
import type * as models from "../../models.ts";
import type { PlannedDevice } from "../planned_device.ts";
import { type PlannedSplit, planSplits } from "./splits.ts";

/** A published figure: gigabytes of GPU memory, the fraction saved, and the kind of source (docs/memory.md). */
interface Published {
  readonly gigabytes?: string;
  readonly saved?: string;
  readonly source: "P" | "S" | "S2";
}

/** A row of a table: a way to train a network. */
interface Row {
  readonly method: local.MethodName;
  readonly modules?: local.Modules;
  readonly published?: Published;
}

/** The rows of one network. */
interface Network {
  readonly model: models.ModelName;
  readonly classes: number;
  /** Height and width of the images; default the network's. */
  readonly size?: readonly [height: number, width: number];
  readonly batch: number;
  /** The first row is end to end, the baseline of the others. */
  readonly rows: readonly Row[];
}

const figure = (gigabytes: string, source: Published["source"], saved?: string): Published => ({
  gigabytes,
  source,
  ...(saved === undefined ? {} : { saved }),
});

function imagenet(
  model: models.ModelName,
  batch: number,
  { endToEnd, infopro, man }: { readonly [method in "endToEnd" | "infopro" | "man"]?: Published },
): Network {
  const given = (published: Published | undefined) => published === undefined ? {} : { published };
  return {
    model,
    classes: 1000,
    batch,
    rows: [
      { method: "endToEnd", ...given(endToEnd) },
      { method: "endToEnd+checkpoint" },
      { method: "infopro", modules: { published: "infopro*", modules: 2 }, ...given(infopro) },
      { method: "man+infopro", modules: { published: "man", modules: 2 } },
      { method: "man+infopro", modules: { published: "man", modules: 4 }, ...given(man) },
      { method: "man+infopro", modules: { balanced: 4 } },
    ],
  };
}

/** A vision transformer, cut as MAN++ cuts it; its publication has no figures of memory. */
function transformer(model: models.ModelName): Network {
  const modules = { published: "man++", modules: 4 } as const;
  return {
    model,
    classes: 1000,
    batch: 128,
    rows: [
      { method: "endToEnd" },
      { method: "endToEnd+checkpoint" },
      { method: "greedy", modules },
      { method: "dgl", modules },
      { method: "man+dgl", modules },
      { method: "manPlusPlus+dgl", modules },
      { method: "man+infopro", modules },
      { method: "man+dgl", modules: { balanced: 4 } },
    ],
  };
}

/** The tables by their names on the command line; docs/memory.md lists the sources of the published figures. */
export const memoryTables = {
  imagenet: [
    imagenet("resnet101", 128, {
      endToEnd: figure("19.71", "S2"),
      infopro: figure("12.06", "P", "38.8 %"),
      man: figure("~10.47", "S", "~46.9 %"),
    }),
    imagenet("resnet152", 128, {
      endToEnd: figure("26.29", "S2"),
      infopro: figure("15.53", "P", "40.9 %"),
      man: figure("~13.61", "S", "~48.2 %"),
    }),
    imagenet("resnext101_32x8d", 64, {
      endToEnd: figure("19.22", "P"),
      infopro: figure("11.55", "P", "39.9 %"),
    }),
  ],
  cifar: [{
    model: "resnet110",
    classes: 10,
    batch: 1024,
    rows: [
      { method: "endToEnd", published: figure("9.40", "P") },
      { method: "endToEnd+checkpoint", published: figure("3.91", "P", "58.4 %") },
      {
        method: "infopro",
        modules: { published: "infopro*", modules: 2 },
        published: figure("5.38", "P", "42.8 %"),
      },
      {
        method: "infopro",
        modules: { published: "infopro*", modules: 3 },
        published: figure("4.22", "P", "55.1 %"),
      },
      {
        method: "infopro",
        modules: { published: "infopro*", modules: 4 },
        published: figure("3.52", "P", "62.6 %"),
      },
      { method: "man+infopro", modules: { published: "man", modules: 55 } },
      { method: "man+dgl", modules: { published: "man", modules: 32 } },
      { method: "man+dgl", modules: { published: "man", modules: 55 } },
      { method: "man+dgl", modules: { balanced: 4 } },
    ],
  }],
  transformers: [transformer("vitSmall"), transformer("vitBase")],
  // Batch 8 on four GPUs, of which each has two images.
  segmentation: [{
    model: "deeplabv3_resnet101",
    classes: 19,
    size: [512, 1024],
    batch: 2,
    rows: [
      { method: "endToEnd", published: figure("19.43", "P") },
      { method: "endToEnd+checkpoint" },
      {
        method: "infopro",
        modules: { published: "infopro*", modules: 2 },
        published: figure("12.01", "P", "38.2 %"),
      },
      { method: "man+dgl", modules: { published: "infopro*", modules: 2 } },
      { method: "infopro", modules: { balanced: 4 } },
    ],
  }],
} as const satisfies { readonly [name: string]: readonly Network[] };

/** The name of a table. */
export type TableName = keyof typeof memoryTables;

/** The planned memory of a row. */
export interface Planned extends PlannedSplit {
  /** The fraction of the end-to-end peak that is saved, both with or both without recomputation. */
  readonly saved: number;
}

/** A row with its plans. */
export interface PlannedRow {
  readonly network: models.ModelName;
  readonly batch: number;
  readonly method: local.MethodName;
  /** The split, for people: `K = 4, man`, `K = 4, balanced`. */
  readonly split: string;
  readonly plain: Planned;
  readonly recomputed: Planned;
  readonly published?: Published;
}

/** Plans every row of a table, without and with recomputation. Allocates nothing. */
export async function planTable(
  name: TableName,
  device: PlannedDevice,
  precision?: Precision,
): Promise<PlannedRow[]> {
  const rows = memoryTables[name].flatMap(({ rows, ...network }: Network) =>
    rows.map((row) => ({ ...network, ...row, isFirst: row === rows[0] }))
  );
  const plans = await planSplits(rows.map(({ model, classes, size, batch, method, modules = 1 }) => ({
    model,
    classes,
    ...(size === undefined ? {} : { size }),
    batch,
    method,
    modules,
    device,
    ...(precision === undefined ? {} : { precision }),
  })));
  let endToEnd = at(plans, 0);
  return rows.map(({ model, batch, method, modules, published, isFirst }, i): PlannedRow => {
    const plan = at(plans, i);
    if (isFirst) endToEnd = plan;
    const saved = (kind: "plain" | "recomputed"): Planned => ({
      ...plan[kind],
      saved: 1 - plan[kind].peakBytes / endToEnd[kind].peakBytes,
    });
    return {
      network: model,
      batch,
      method,
      split: splitOf(modules),
      plain: saved("plain"),
      recomputed: saved("recomputed"),
      ...(published === undefined ? {} : { published }),
    };
  });
}

function splitOf(modules: local.Modules | undefined): string {
  if (typeof modules !== "object") return "";
  if ("balanced" in modules) return `K = ${modules.balanced}, balanced`;
  return "published" in modules ? `K = ${modules.modules}, ${modules.published}` : modules.after.join(", ");
}
