import { LocalgradError } from "./errors.ts";
import { expectKind } from "./expect.ts";
import { refusal } from "./system.ts";

/** The longest file of JSON that is read, except metrics. */
export const JSON_LIMIT = 16 * 2 ** 20;

/** Whether an error says that nothing is at a path. */
function isMissing(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory;
}

/** What a path leads to; undefined where there is nothing. */
async function look(path: string, stat = Deno.stat): Promise<Deno.FileInfo | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw refusal(error, `${path} cannot be looked at`);
  }
}

/** What it leads to, in a word. */
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
 * Reads a file of at most `limit` bytes; undefined where there is none. Links are followed. What is no regular file is
 * refused before it is opened: opening a pipe waits for a writer, and a device may have no end.
 *
 * @throws {LocalgradError} where it is none, longer, or cannot be read.
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
      `${path} is too long: ${info.size} bytes, where at most ${limit} are read`,
    );
  }
  try {
    return await Deno.readFile(path);
  } catch (error) {
    throw refusal(error, `${path} cannot be read`);
  }
}

/** Whether there is a file or folder, or a link to one. */
export async function exists(path: string): Promise<boolean> {
  return await look(path) !== undefined;
}

/** Removes a file, or a folder with all that is in it. */
export async function removeIfThere(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** Removes what {@link writeWhole} left in a folder when a process was killed; nobody else may be writing there. */
export async function removeParts(folder: string): Promise<void> {
  for (const { name, isFile } of await Array.fromAsync(Deno.readDir(folder))) {
    if (isFile && /\.\d+\.part$/.test(name)) await removeIfThere(`${folder}/${name}`);
  }
}

/**
 * Refuses a folder for results whose path names a file, or leads through one.
 *
 * @throws {LocalgradError} where it does.
 */
export async function refuseFile(folder: string): Promise<void> {
  const free = await Deno.stat(folder).then(({ isDirectory }) => isDirectory, (error) => {
    if (error instanceof Deno.errors.NotFound) return true;
    if (error instanceof Deno.errors.NotADirectory) return false;
    throw refusal(error, `${folder} cannot be looked at`);
  });
  if (!free) throw new LocalgradError(`${folder} is not a folder; choose another place`);
}

/**
 * Refuses a link where results are to be written: a folder that came from elsewhere may hold one that leads anywhere.
 *
 * @throws {LocalgradError} where there is one.
 */
export async function refuseLink(path: string): Promise<void> {
  if ((await look(path, Deno.lstat))?.isSymlink !== true) return;
  throw new LocalgradError(`${path} is a link, which is not written through; remove it to go on`);
}

/** Makes a folder and those that it lies in, where they are not there. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    throw refusal(error, `the folder ${path} cannot be made`);
  }
}

/**
 * Opens a file to write it alone: locked until it is closed or the process ends. Its folder may have come from
 * elsewhere, so a link is not followed: it could lead to any file of this machine.
 *
 * @throws {LocalgradError} where it is locked already, is a link or no regular file, or cannot be written.
 */
export async function openAlone(path: string): Promise<Deno.FsFile> {
  const info = await look(path, Deno.lstat);
  if (info !== undefined && !info.isFile) {
    throw new LocalgradError(`${path} is a ${kindOf(info)}, which is not written to; remove it to go on`);
  }
  const file = await Deno.open(path, { write: true, create: true }).catch((error) => {
    throw refusal(error, `${path} cannot be written`);
  });
  // On Windows a lock keeps readers out too, and there are file systems without locks.
  const ours = Deno.build.os === "windows" || await file.tryLock(true).catch(() => true);
  if (ours) return file;
  file.close();
  throw new LocalgradError(`${path} is being written by another run; wait for it, or choose another folder`);
}

/** Waits until the name of a file is on the disk; without that a power failure may bring the old file back. */
async function syncFolder(path: string): Promise<void> {
  try {
    using folder = await Deno.open(path.replace(/[^/\\]*$/, "") || ".");
    await folder.sync();
  } catch { // Windows opens no folders, and some file systems sync none
  }
}

/** Writes all of some bytes. */
export async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await file.write(bytes.subarray(written));
}

/**
 * Writes a file whole or not at all: beside its place first, through to the disk, then renamed over it. A crash leaves
 * the old file or the new one, never a part. A link in its place is replaced, not followed.
 *
 * @throws {LocalgradError} where its folder is not there, or the system refuses: the disk is full, for one.
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
    await Deno.remove(part).catch(() => {}); // it may not have been made
    if (isMissing(error)) {
      throw new LocalgradError(`${path} cannot be written: the folder it is to be in does not exist`);
    }
    throw refusal(error, `${path} cannot be written`);
  }
}

/** Opens a file that was not there: neither what a killed process of the same number left, nor a link. */
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
