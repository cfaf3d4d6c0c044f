import { LocalgradError } from "./errors.ts";
import { expectKind } from "./expect.ts";
import { refusal } from "./system.ts";

/** The size limit for files of JSON other than metrics, in bytes. */
const JSON_LIMIT = 16 * 2 ** 20;

/** Tests for an error that says there is nothing at a path. */
function isMissing(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory;
}

/** Information about what is at a path; undefined if nothing is. */
export async function look(path: string, stat = Deno.stat): Promise<Deno.FileInfo | undefined> {
  if (path === "") return undefined; // of which Deno throws an Error without a kind
  try {
    return await stat(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw refusal(error, `${path} cannot be examined`);
  }
}

/** The kind of thing at a path, in a word. */
function kindOf({ isDirectory, isSymlink, isFifo, isSocket }: Deno.FileInfo): string {
  if (isDirectory) return "folder";
  if (isSymlink) return "link";
  return isFifo ? "pipe" : isSocket ? "socket" : "device";
}

function expectPath(path: string): void {
  expectKind("the path of a file", path, "string");
  if (path === "") throw new LocalgradError("the path of a file is empty");
}

/**
 * Reads a file of at most `limit` bytes; undefined if there is nothing at `path`. Follows links. Refuses anything but a
 * regular file before opening it: opening a pipe waits for a writer, and a device may have no end.
 *
 * @throws {LocalgradError} if it is not a regular file, is longer, or cannot be read.
 */
export async function readIfThere(
  path: string,
  limit = JSON_LIMIT,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  expectPath(path);
  const info = await look(path);
  if (info === undefined) return undefined;
  if (!info.isFile) throw new LocalgradError(`${path} is a ${kindOf(info)}, not a file`);
  if (info.size > limit) {
    throw new LocalgradError(
      `${path} is too long: ${info.size} bytes; the limit is ${limit}`,
    );
  }
  try {
    return await Deno.readFile(path);
  } catch (error) {
    throw refusal(error, `${path} cannot be read`);
  }
}

/** The first bytes of a file, at most `count`. */
export async function firstBytes(path: string, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  try {
    using file = await Deno.open(path);
    return bytes.subarray(0, await file.read(bytes) ?? 0);
  } catch (error) {
    throw refusal(error, `${path} cannot be read`);
  }
}

/** Tests whether there is a file or folder, or a link to one. */
export async function exists(path: string): Promise<boolean> {
  return await look(path) !== undefined;
}

/** Removes a file, or a folder with its contents, if it exists. */
export async function removeIfThere(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** Removes the partial files of killed processes from a folder; nothing else may be writing there (see {@link writeWhole}). */
export async function removeParts(folder: string): Promise<void> {
  for (const { name, isFile } of await Array.fromAsync(Deno.readDir(folder))) {
    if (isFile && /\.\d+\.part$/.test(name)) await removeIfThere(`${folder}/${name}`);
  }
}

/**
 * Refuses a path for a folder that names a file, or leads through one.
 *
 * @throws {LocalgradError} if it does.
 */
export async function refuseFile(folder: string): Promise<void> {
  expectKind("the path of a folder", folder, "string");
  if (folder === "") throw new LocalgradError("the path of a folder is empty; give one, such as .");
  const free = await Deno.stat(folder).then(({ isDirectory }) => isDirectory, (error) => {
    if (error instanceof Deno.errors.NotFound) return true;
    if (error instanceof Deno.errors.NotADirectory) return false;
    throw refusal(error, `${folder} cannot be examined`);
  });
  if (!free) throw new LocalgradError(`${folder} is not a folder; choose another place`);
}

/**
 * Refuses a link as a place for results: a folder that came from elsewhere may contain one that leads anywhere.
 *
 * @throws {LocalgradError} if there is one.
 */
export async function refuseLink(path: string): Promise<void> {
  if ((await look(path, Deno.lstat))?.isSymlink !== true) return;
  throw new LocalgradError(`${path} is a link, which is not written through; remove it`);
}

/** Makes a folder and its parents, if they do not exist. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    throw refusal(error, `the folder ${path} cannot be made`);
  }
}

/**
 * Opens a file for exclusive writing: it is locked until it is closed or the process ends. Does not follow links, since
 * its folder may have come from elsewhere, and a link could lead to any file of this machine.
 *
 * @throws {LocalgradError} if it is locked already, is not a regular file, or cannot be written.
 */
export async function openAlone(path: string): Promise<Deno.FsFile> {
  const info = await look(path, Deno.lstat);
  if (info !== undefined && !info.isFile) {
    throw new LocalgradError(`${path} is a ${kindOf(info)}, not a regular file; remove it`);
  }
  const file = await Deno.open(path, { write: true, create: true }).catch((error) => {
    throw refusal(error, `${path} cannot be written`);
  });
  // On Windows a lock keeps readers out too, and some file systems have no locks.
  const ours = Deno.build.os === "windows" || await file.tryLock(true).catch(() => true);
  if (ours) return file;
  file.close();
  throw new LocalgradError(`${path} is being written by another run; wait for it, or choose another folder`);
}

/** Waits until the name of a file is on the disk; otherwise a power failure may bring the old file back. */
async function syncFolder(path: string): Promise<void> {
  try {
    using folder = await Deno.open(path.replace(/[^/\\]*$/, "") || ".");
    await folder.sync();
  } catch { // Windows cannot open folders, and some file systems cannot sync them
  }
}

/** Writes all bytes, in as many writes as the system needs. */
export async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await file.write(bytes.subarray(written));
}

/**
 * Writes a file atomically: to a temporary file next to it, through to the disk, then renamed over it. A crash leaves
 * the old file or the new one, never a part. Replaces a link in its place instead of following it.
 *
 * @throws {LocalgradError} if its folder does not exist, or the system refuses, for instance because the disk is full.
 */
export async function writeWhole(path: string, content: Uint8Array | string): Promise<void> {
  expectPath(path);
  const part = `${path}.${Deno.pid}.part`;
  try {
    {
      using file = await openNew(part);
      await writeAll(file, typeof content === "string" ? new TextEncoder().encode(content) : content);
      await file.sync();
    }
    await Deno.rename(part, path);
    await syncFolder(path);
  } catch (error) {
    await Deno.remove(part).catch(() => {}); // it may not exist
    if (isMissing(error)) {
      throw new LocalgradError(`${path} cannot be written: the folder to contain it does not exist`);
    }
    throw refusal(error, `${path} cannot be written`);
  }
}

/** Opens a new file, in place of a link or of what a killed process with the same id left there. */
async function openNew(path: string): Promise<Deno.FsFile> {
  const options = { write: true, createNew: true } as const;
  try {
    return await Deno.open(path, options);
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    await Deno.remove(path);
    return await Deno.open(path, options);
  }
}
