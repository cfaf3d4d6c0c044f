import { createHash } from "node:crypto";
import { LocalgradError } from "../base/errors.ts";
import type { Download } from "./download.ts";
import { gunzip } from "./gzip.ts";
import { chunksOf, expectSize, readRegular, stat } from "./regular.ts";
import { readTar } from "./tar.ts";

/** Source of a published data set and progress of its download. */
export interface PublishedOptions {
  /**
   * The folder of the official files, its parent, or the official archive. By default the set is taken from the cache,
   * and downloaded into it first if need be.
   */
  readonly path?: string;
  /** Folder for downloads; by default `localgrad` in the user's cache folder (`XDG_CACHE_HOME` or the system's). */
  readonly cache?: string;
  /** Called during a download with the bytes received so far and the total, where the total is known. */
  readonly onProgress?: (received: number, total: number | undefined) => void;
}

/** Files of a data set by name. */
export type Files = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

/** Returns the file called `name`, which has been read. */
export function fileOf<T>(files: ReadonlyMap<string, T>, name: string): T {
  const file = files.get(name);
  if (file === undefined) throw new Error(`${name} has not been read`);
  return file;
}

/** A data set as its authors publish it. */
export interface Publication {
  /** Its name, such as `CIFAR-10`. */
  readonly name: string;
  /** Its home page, for messages that ask to download files again. */
  readonly home: string;
  /** The title of the download there, such as `"CIFAR-10 binary version"`. */
  readonly what: string;
  /** The folder of the files, in the archive and in the cache. */
  readonly folder: string;
  /** The files to read, with the most bytes each may have. */
  readonly files: Readonly<Record<string, number>>;
  /**
   * Other names that files may have in a folder, with the most bytes each may have then: as they are unpacked, say. The
   * first that exists is read.
   */
  readonly aliases?: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** The download: one archive of all files (`.tar.gz`), or each file. */
  readonly from: { readonly archive: Download } | { readonly each: Readonly<Record<string, Download>> };
  /** Uncompressed bytes of the archive's other files. */
  readonly others?: number;
  /** MD5 of downloaded files, in hexadecimal. Not required of files in a folder, which may contain a part of the set. */
  readonly md5: Readonly<Record<string, string>>;
  /** Checks a file from any source; `where` names it in messages. */
  check(bytes: Uint8Array<ArrayBuffer>, name: string, where: string): void | Promise<void>;
  /** Data sets that a folder without the files may contain instead, by a telltale file: `{ "train.bin": "CIFAR-100" }`. */
  readonly mistaken?: Readonly<Record<string, string>>;
}

/** Rejects bytes whose MD5 is not the published one. */
export function checkMd5(bytes: Uint8Array, md5: string, where: string, { home }: Publication): void {
  if (createHash("md5").update(bytes).digest("hex") === md5) return;
  throw new LocalgradError(
    `${where} is damaged: its MD5 is not the published ${md5}; download it again from ${home}`,
  );
}

/** Reads the files of a set from a folder. */
export async function readFolder(set: Publication, folder: string): Promise<Files> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [name, most] of Object.entries(set.files)) {
    const names = Object.entries({ [name]: most, ...set.aliases?.[name] });
    const found = await firstOf(folder, names);
    if (found === undefined) throw await missing(set, folder, name);
    const [path, limit] = found;
    const bytes = await readRegular(path, limit);
    await set.check(bytes, name, path);
    files.set(name, bytes);
  }
  return files;
}

/** The path of the first of these files that exists, with its limit. */
async function firstOf(
  folder: string,
  names: readonly (readonly [name: string, most: number])[],
): Promise<readonly [path: string, most: number] | undefined> {
  for (const [name, most] of names) {
    if (await stat(`${folder}/${name}`)) return [`${folder}/${name}`, most];
  }
  return undefined;
}

/** The error for a folder without file `name`, with the likely reason. */
async function missing(set: Publication, folder: string, name: string): Promise<LocalgradError> {
  const remedy = `download ${set.what} from ${set.home}`;
  for (const [sign, other] of Object.entries(set.mistaken ?? {})) {
    if (await stat(`${folder}/${sign}`)) return new LocalgradError(`${folder} contains ${other}; ${remedy}`);
  }
  return new LocalgradError(`${folder} has no ${name}; ${remedy} and put it there`);
}

const TAR_HEADERS = 1 << 20; // headers of an archive and padding of its files

/** Reads the files of a set from an archive; `where` names it in messages. */
export async function readArchive(set: Publication, path: string, where: string = path): Promise<Files> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const base = (path: string) => path.slice(path.lastIndexOf("/") + 1);
  const limits = new Map(Object.entries(set.files));
  const wanted = (path: string, size: number) => {
    const name = base(path);
    const limit = limits.get(name);
    if (limit !== undefined) expectSize(`${where}: ${name}`, size, limit);
    return limit !== undefined;
  };
  const most = Object.values(set.files).reduce((sum, size) => sum + size, TAR_HEADERS + (set.others ?? 0));
  for await (const file of readTar(gunzip(chunksOf(path), where, most), where, wanted)) {
    const name = base(file.path);
    await set.check(file.bytes, name, `${where}: ${name}`);
    files.set(name, file.bytes);
  }
  const absent = Object.keys(set.files).find((name) => !files.has(name));
  if (absent !== undefined) {
    throw new LocalgradError(`${where} has no ${absent}; download ${set.what} from ${set.home}`);
  }
  return files;
}
