import { createHash } from "node:crypto";
import { LocalgradError } from "../errors.ts";
import { cacheDirectory } from "./cache.ts";
import { download, DownloadError } from "./download.ts";
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
  /** Called as a download goes on, with bytes received and, where the server tells, in all. */
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
  /** The files that are read. */
  readonly files: readonly string[];
  /** An archive of all files (`.tar.gz`), or where each is. */
  readonly url: string | Readonly<Record<string, string>>;
  /** The MD5 of files in hexadecimal: what a download must have. A folder may hold a part of the set. */
  readonly md5: Readonly<Record<string, string>>;
  /** Checks a file, wherever it is from; `where` is what messages call it. */
  check(bytes: Uint8Array<ArrayBuffer>, name: string, where: string): void;
  /** What a folder without the files holds instead, by a file that gives it away: `{ "train.bin": "CIFAR-100" }`. */
  readonly mistaken?: Readonly<Record<string, string>>;
}

/**
 * Reads a published set's files from a folder or archive, or from the cache, which is filled by a download if need be.
 * Every file is checked, and a download is kept whole or not at all.
 *
 * @throws {LocalgradError} where files are missing, truncated, damaged or not this set, or cannot be downloaded.
 */
export function readPublished(set: Publication, options: PublishedOptions): Promise<Files> {
  return options.path === undefined ? readCached(set, options) : readPath(set, options.path);
}

/** What `path` is; undefined where there is nothing. */
export async function stat(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw error;
  }
}

/** Refuses bytes whose MD5 is not the published one. */
export function checkMd5(bytes: Uint8Array, md5: string, where: string, { home }: Publication): void {
  if (createHash("md5").update(bytes).digest("hex") === md5) return;
  throw new LocalgradError(
    `${where} is damaged: its MD5 is not the published ${md5}; get it again from ${home}`,
  );
}

async function readPath(set: Publication, path: string): Promise<Files> {
  const info = await stat(path);
  if (info === undefined) {
    throw new LocalgradError(
      `${path} does not exist; give the folder or archive of ${set.name} (${set.home})`,
    );
  }
  if (info.isDirectory) {
    const inner = `${path}/${set.folder}`;
    return readFolder(set, await stat(inner) ? inner : path);
  }
  if (typeof set.url !== "string") {
    throw new LocalgradError(`${path} is a file; give the folder that holds ${set.files.join(" and ")}`);
  }
  return readArchive(set, (await Deno.open(path)).readable, path);
}

async function readFolder(set: Publication, folder: string): Promise<Files> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const name of set.files) {
    const path = `${folder}/${name}`;
    if (!await stat(path)) throw await missing(set, folder, name);
    const bytes = await Deno.readFile(path);
    check(set, bytes, name, path);
    files.set(name, bytes);
  }
  return files;
}

function check(set: Publication, bytes: Uint8Array<ArrayBuffer>, name: string, where: string): void {
  if (bytes.length === 0) throw new LocalgradError(`${where} is empty; get it again from ${set.home}`);
  set.check(bytes, name, where);
}

/** The error for a folder without file `name`, with the likely reason. */
async function missing(set: Publication, folder: string, name: string): Promise<LocalgradError> {
  const get = `get ${set.what} from ${set.home}`;
  for (const [sign, other] of Object.entries(set.mistaken ?? {})) {
    if (await stat(`${folder}/${sign}`)) return new LocalgradError(`${folder} holds ${other}; ${get}`);
  }
  return new LocalgradError(`${folder} has no ${name}; ${get} and put it there`);
}

async function readArchive(
  set: Publication,
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  name: string,
): Promise<Files> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const base = (path: string) => path.slice(path.lastIndexOf("/") + 1);
  try {
    const unpacked = stream.pipeThrough(new DecompressionStream("gzip"));
    for await (const file of readTar(unpacked, name, (path) => set.files.includes(base(path)))) {
      const inner = base(file.path);
      check(set, file.bytes, inner, `${name}: ${inner}`);
      files.set(inner, file.bytes);
    }
  } catch (error) {
    if (error instanceof LocalgradError || error instanceof DownloadError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new LocalgradError(`${name} is no whole gzip archive (${reason}); get it again from ${set.home}`);
  }
  const absent = set.files.find((file) => !files.has(file));
  if (absent !== undefined) {
    throw new LocalgradError(`${name} has no ${absent}; get ${set.what} from ${set.home}`);
  }
  return files;
}

async function readCached(set: Publication, options: PublishedOptions): Promise<Files> {
  const cache = options.cache ?? await cacheDirectory();
  const folder = `${cache}/${set.folder}`;
  if (await stat(folder)) {
    return readFolder(set, folder).catch((error) => {
      if (!(error instanceof LocalgradError)) throw error;
      throw new LocalgradError(`${error.message}; or remove ${folder}, and it is downloaded again`);
    });
  }
  const files = await fetchFiles(set, options);
  await Deno.mkdir(cache, { recursive: true });
  const part = await Deno.makeTempDir({ dir: cache, prefix: `${set.folder}.`, suffix: ".part" });
  try {
    for (const [name, bytes] of files) await Deno.writeFile(`${part}/${name}`, bytes);
    await Deno.rename(part, folder); // whole or not at all
  } catch (error) {
    await Deno.remove(part, { recursive: true });
    if (!await stat(folder)) throw error; // else another process put it there meanwhile
  }
  return files;
}

/** Downloads the archive, or each file, and checks what came. */
async function fetchFiles(set: Publication, { onProgress }: PublishedOptions): Promise<Files> {
  const { url } = set;
  const verified = (bytes: Uint8Array, name: string, where: string) => {
    if (set.md5[name] !== undefined) checkMd5(bytes, set.md5[name], where, set);
  };
  try {
    if (typeof url === "string") {
      const files = await readArchive(set, await download(url, onProgress), url);
      for (const [name, bytes] of files) verified(bytes, name, `${url}: ${name}`);
      return files;
    }
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    for (const name of set.files) {
      const bytes = new Uint8Array(await new Response(await download(url[name], onProgress)).arrayBuffer());
      check(set, bytes, name, url[name]);
      verified(bytes, name, url[name]);
      files.set(name, bytes);
    }
    return files;
  } catch (error) {
    if (!(error instanceof DownloadError)) throw error;
    throw new LocalgradError(
      `${error.url} could not be downloaded (${error.message}); get it by other means and give its path`,
    );
  }
}
