import { createHash } from "node:crypto";
import { LocalgradError } from "../base/errors.ts";
import type { Download } from "./download.ts";
import { gunzip } from "./gzip.ts";
import { chunksOf, expectSize, readRegular, stat } from "./regular.ts";
import { readTar } from "./tar.ts";

/** Where a published data set is taken from, and who is told about a download. */
export interface PublishedOptions {
  /**
   * A folder that holds the official files, or holds their folder, or the official archive itself. Without it, the set
   * is taken from the cache, and downloaded into it if need be.
   */
  readonly path?: string;
  /** Folder for a download; by default `localgrad` in the user's cache folder (`XDG_CACHE_HOME` or the system's own). */
  readonly cache?: string;
  /** Called as a download goes on, with bytes received and, where that is known, of how many. */
  readonly onProgress?: (received: number, total: number | undefined) => void;
}

/** Files of a data set by name. */
export type Files = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

/** A data set as its authors publish it. */
export interface Publication {
  /** What to call it, such as `CIFAR-10`. */
  readonly name: string;
  /** Its home page, named where files have to be got again. */
  readonly home: string;
  /** What to get there, such as `"CIFAR-10 binary version"`. */
  readonly what: string;
  /** The folder of the files: in the archive, and in the cache. */
  readonly folder: string;
  /** The files that are read, and the most bytes that each may have. */
  readonly files: Readonly<Record<string, number>>;
  /** An archive of all files (`.tar.gz`), or each of them. */
  readonly from: { readonly archive: Download } | { readonly each: Readonly<Record<string, Download>> };
  /** Bytes that the archive inflates to beside its files. */
  readonly others?: number;
  /** The MD5 of files in hexadecimal: what a download must have. A folder may hold a part of the set. */
  readonly md5: Readonly<Record<string, string>>;
  /** Checks a file, wherever it is from; `where` is what messages call it. */
  check(bytes: Uint8Array<ArrayBuffer>, name: string, where: string): void;
  /** What a folder without the files holds instead, by a file that gives it away: `{ "train.bin": "CIFAR-100" }`. */
  readonly mistaken?: Readonly<Record<string, string>>;
}

/** Refuses bytes whose MD5 is not the published one. */
export function checkMd5(bytes: Uint8Array, md5: string, where: string, { home }: Publication): void {
  if (createHash("md5").update(bytes).digest("hex") === md5) return;
  throw new LocalgradError(
    `${where} is damaged: its MD5 is not the published ${md5}; get it again from ${home}`,
  );
}

/** The files of the set in a folder. */
export async function readFolder(set: Publication, folder: string): Promise<Files> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [name, most] of Object.entries(set.files)) {
    const path = `${folder}/${name}`;
    if (!await stat(path)) throw await missing(set, folder, name);
    const bytes = await readRegular(path, most);
    set.check(bytes, name, path);
    files.set(name, bytes);
  }
  return files;
}

/** The error for a folder without file `name`, with the likely reason. */
async function missing(set: Publication, folder: string, name: string): Promise<LocalgradError> {
  const get = `get ${set.what} from ${set.home}`;
  for (const [sign, other] of Object.entries(set.mistaken ?? {})) {
    if (await stat(`${folder}/${sign}`)) return new LocalgradError(`${folder} holds ${other}; ${get}`);
  }
  return new LocalgradError(`${folder} has no ${name}; ${get} and put it there`);
}

const TAR_HEADERS = 1 << 20; // those of an archive, and the padding of its files

/** The files of the set in an archive, which messages call `where`. */
export async function readArchive(set: Publication, path: string, where: string = path): Promise<Files> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const base = (path: string) => path.slice(path.lastIndexOf("/") + 1);
  const wanted = (path: string, size: number) => {
    const name = base(path);
    if (!Object.hasOwn(set.files, name)) return false;
    expectSize(`${where}: ${name}`, size, set.files[name]);
    return true;
  };
  const most = Object.values(set.files).reduce((sum, size) => sum + size, TAR_HEADERS + (set.others ?? 0));
  for await (const file of readTar(gunzip(chunksOf(path), where, most), where, wanted)) {
    const name = base(file.path);
    set.check(file.bytes, name, `${where}: ${name}`);
    files.set(name, file.bytes);
  }
  const absent = Object.keys(set.files).find((name) => !files.has(name));
  if (absent !== undefined) {
    throw new LocalgradError(`${where} has no ${absent}; get ${set.what} from ${set.home}`);
  }
  return files;
}
