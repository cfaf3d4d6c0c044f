import { LocalgradError } from "../../base/errors.ts";
import type { ImageFile } from "../folder/reader.ts";
import { shown } from "../regular.ts";
import type { Table } from "./tables.ts";

/** The columns that a data set is made of. */
export interface Columns {
  readonly image: string;
  readonly label: string;
  /** The names of the classes, if the files have them. */
  readonly classes?: readonly string[];
}

/** The rows of a part: encoded images and classes. */
export interface Rows {
  readonly files: readonly ImageFile[];
  readonly labels: readonly number[];
}

const LABELS = ["label", "labels", "class", "fine_label"];

/** Finds the columns of images and classes, those of the options or by what the file says. */
export function columnsOf(
  table: Table,
  given: { readonly image?: string; readonly label?: string },
): Columns {
  const { columns, features } = table;
  const ofType = (type: string) => columns.filter((name) => features[name]?._type === type);
  const image = given.image ?? one(table, "image", ofType("Image"), imageLike(table));
  const label = given.label ??
    one(table, "label", ofType("ClassLabel"), columns.filter((name) => LABELS.includes(name)));
  expectColumns(table, [image, label]);
  const names = features[label]?.names;
  return {
    image,
    label,
    ...(Array.isArray(names) && names.length > 0 ? { classes: names.map(String) } : {}),
  };
}

/** Refuses a table that lacks a column. */
export function expectColumns({ path, columns }: Table, names: readonly string[]): void {
  const missing = names.find((name) => !columns.includes(name));
  if (missing === undefined) return;
  throw new LocalgradError(
    `${shown(path)} has no column ${shown(missing)}; it has ${shown(columns.join(", "))}`,
  );
}

/** The columns of bytes that are no text, or of a record with such bytes. */
function imageLike({ columns, metadata: { schema } }: Table): string[] {
  const isBytes = (name: string) =>
    schema.some((element) =>
      element.name === name && element.type === "BYTE_ARRAY" && element.converted_type !== "UTF8"
    );
  return columns.filter((name) =>
    isBytes(name) ||
    schema.some((element, i) =>
      element.name === name && element.num_children && schema[i + 1]?.name === "bytes"
    )
  );
}

/** The only candidate, the first list that has any before the second. */
function one(table: Table, what: string, named: readonly string[], alike: readonly string[]): string {
  const candidates = named.length > 0 ? named : alike;
  const [only, another] = candidates;
  if (only !== undefined && another === undefined) return only;
  const found = only === undefined ? "none looks like it" : `it may be ${candidates.join(" or ")}`;
  throw new LocalgradError(
    `${shown(table.path)}: which of its columns ${shown(table.columns.join(", "))} is the ${what}? ${
      shown(found)
    }; name ` +
      `it by the option ${what}`,
  );
}

/** Reads at most `limit` rows of tables, and at most `memory` bytes of images. */
export async function readRows(
  tables: readonly Table[],
  { image, label }: Columns,
  limit: number | undefined,
  memory: number,
): Promise<Rows> {
  const files: ImageFile[] = [];
  const labels: number[] = [];
  const most = limit ?? Infinity;
  let bytes = 0;
  for (const table of tables) {
    if (files.length >= most) break;
    for await (const { first, rows } of table.read([image, label])) {
      for (const [i, row] of rows.entries()) {
        if (files.length >= most) break;
        const path = `${shown(table.path)}: row ${first + i}`;
        const content = bytesIn(row[image], path, image);
        bytes += content.length;
        if (bytes > memory) {
          throw new LocalgradError(
            `${path}: images up to here take more than ${memory} bytes of memory; set memory`,
          );
        }
        files.push({ path, bytes: content });
        labels.push(labelIn(row[label], path, label));
      }
      if (files.length >= most) break;
    }
  }
  const [table] = tables;
  if (files.length === 0) throw new LocalgradError(`${shown(table?.path ?? "")} has no rows`);
  return { files, labels };
}

/** An encoded image: a copy, because that of the table keeps its whole page. */
function bytesIn(value: unknown, where: string, column: string): Uint8Array {
  const content = typeof value === "object" && value !== null && "bytes" in value ? value.bytes : value;
  if (content instanceof Uint8Array && content.length > 0) return content.slice();
  const path =
    typeof value === "object" && value !== null && "path" in value && typeof value.path === "string"
      ? `, only the path ${shown(value.path)}`
      : "";
  throw new LocalgradError(`${where} has no image in column ${shown(column)}${path}`);
}

function labelIn(value: unknown, where: string, column: string): number {
  const label = typeof value === "bigint" ? Number(value) : value;
  if (typeof label === "number" && Number.isInteger(label) && label >= 0 && label < 2 ** 31) return label;
  throw new LocalgradError(`${where} has no class in column ${shown(column)}: ${shown(String(value))}`);
}
