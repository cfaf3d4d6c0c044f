import { LocalgradError } from "../../base/errors.ts";
import { entries } from "../folder/listing.ts";
import { shown, stat } from "../regular.ts";

/** The tables of a data set. */
export interface TableFiles {
  readonly train: readonly string[];
  readonly test: readonly string[];
}

const TEST = ["validation", "valid", "val", "test"];

/**
 * Finds the tables of a folder and of the folders in it. As on Hugging Face's hub, the name of a file or of its folder
 * says which part it belongs to: `train-00000-of-00002.parquet`, `test/0000.parquet`. Of `validation`, `valid`, `val` and
 * `test`, the first that there is becomes the test part.
 *
 * @throws {LocalgradError} if a part has no table.
 */
export async function listTables(root: string): Promise<TableFiles> {
  if (!(await stat(root))?.isDirectory) {
    throw new LocalgradError(
      `${shown(root)} is not a folder; give the folder of train-*.parquet and test-*.parquet`,
    );
  }
  const all = await tablesIn(root);
  const of = (part: string) => all.filter((path) => partOf(path.slice(root.length)) === part);
  const train = of("train");
  const test = TEST.map(of).find((paths) => paths.length > 0) ?? [];
  const missing = train.length === 0 ? "train" : test.length === 0 ? "validation or test" : undefined;
  if (missing === undefined) return { train, test };
  throw new LocalgradError(
    `${shown(root)} has no .parquet file whose name, or whose folder's, says ${missing}, such as ` +
      `${missing === "train" ? "train" : "test"}-00000-of-00001.parquet`,
  );
}

async function tablesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const { name, path, kind } of await entries(folder)) {
    if (kind === "folder") found.push(...await tablesIn(path));
    else if (kind === "file" && name.endsWith(".parquet")) found.push(path);
  }
  return found;
}

/** The part that a path names, the file before its folders. */
function partOf(path: string): string | undefined {
  for (const name of path.split("/").reverse()) {
    const words = name.toLowerCase().split(/[^a-z]+/);
    const part = ["train", ...TEST].find((part) => words.includes(part));
    if (part !== undefined) return part;
  }
  return undefined;
}
