import { LocalgradError } from "../base/errors.ts";
import { expectOptions, type Kinds } from "../base/expect.ts";
import { makeFolder } from "../base/files.ts";
import { refusal } from "../base/system.ts";
import { cacheDirectory } from "./cache.ts";
import { download } from "./download.ts";
import {
  checkMd5,
  type Files,
  type Publication,
  type PublishedOptions,
  readArchive,
  readFolder,
} from "./publication.ts";
import { stat } from "./regular.ts";

/** The options of every published set, to check those from a user. */
export const PUBLISHED_KINDS = {
  path: "string?",
  cache: "string?",
  onProgress: "function?",
} as const satisfies Kinds<PublishedOptions>;

/**
 * Reads the files of a published set from a folder or archive, or from the cache, downloading the set into it first if
 * need be. Every file is checked, and a partial download is never kept. Nothing is read or decompressed beyond its
 * published size.
 *
 * @throws {LocalgradError} if files are missing, truncated, damaged or not of this set, or cannot be downloaded.
 */
export function readPublished(set: Publication, options: PublishedOptions): Promise<Files> {
  expectOptions(`the loader of ${set.name}`, options, PUBLISHED_KINDS);
  return options.path === undefined ? readCached(set, options) : readPath(set, options.path);
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
  if ("each" in set.from) {
    const names = Object.keys(set.files).join(" and ");
    throw new LocalgradError(`${path} is a file; give the folder that contains ${names}`);
  }
  return readArchive(set, path);
}

/** Reads the files of a set from the cache, downloading them first if they are not there. */
async function readCached(set: Publication, options: PublishedOptions): Promise<Files> {
  const cache = options.cache ?? await cacheDirectory();
  const folder = `${cache}/${set.folder}`;
  if (!await stat(folder)) {
    await makeFolder(cache);
    // One process downloads; others wait for it and read the result. If it is killed, the system unlocks the file.
    using file = await Deno.open(`${folder}.lock`, { read: true, write: true, create: true }).catch(
      (error) => {
        throw refusal(error, `${folder}.lock cannot be written`);
      },
    );
    await file.lock(true).catch(() => {}); // some file systems have no locks
    if (!await stat(folder)) return await fill(set, cache, options);
  }
  return await readFolder(set, folder).catch((error) => {
    if (!(error instanceof LocalgradError)) throw error;
    throw new LocalgradError(`${error.message}; or remove ${folder} to have the set downloaded again`);
  });
}

/** Downloads the set into the cache; a partial download is removed. */
async function fill(set: Publication, cache: string, options: PublishedOptions): Promise<Files> {
  // Left by processes that were killed: a live one would hold the lock.
  for await (const { name } of Deno.readDir(cache)) {
    if (name.startsWith(`${set.folder}.`) && name.endsWith(".part")) {
      await Deno.remove(`${cache}/${name}`, { recursive: true });
    }
  }
  const part = `${cache}/${set.folder}.part`;
  await Deno.mkdir(part);
  try {
    const files = await fetchFiles(set, part, options);
    await Deno.rename(part, `${cache}/${set.folder}`);
    return files;
  } catch (error) {
    await Deno.remove(part, { recursive: true });
    throw refusal(error, `${set.name} cannot be saved in ${cache}`);
  }
}

/** Downloads the archive, or each file, into a folder. Nothing is parsed before its length and MD5 are verified. */
async function fetchFiles(set: Publication, folder: string, options: PublishedOptions): Promise<Files> {
  if ("each" in set.from) {
    for (const [name, from] of Object.entries(set.from.each)) {
      await download(from, `${folder}/${name}`, options);
    }
    return await readFolder(set, folder);
  }
  const { archive } = set.from;
  const path = `${folder}/archive`;
  await download(archive, path, options);
  const files = await readArchive(set, path, archive.url);
  await Deno.remove(path);
  for (const [name, bytes] of files) {
    if (set.md5[name] !== undefined) checkMd5(bytes, set.md5[name], `${archive.url}: ${name}`, set);
    await Deno.writeFile(`${folder}/${name}`, bytes);
  }
  return files;
}
