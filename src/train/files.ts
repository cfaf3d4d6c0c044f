import { LocalgradError } from "../errors.ts";

/** Reads a file; undefined where there is none. */
export async function readIfThere(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    if (error instanceof Deno.errors.IsADirectory) {
      throw new LocalgradError(`${path} is a folder, not a file`);
    }
    throw error;
  }
}

/** Whether there is a file or folder. */
export function exists(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, (error) => {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  });
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
    throw error;
  });
  if (!free) throw new LocalgradError(`${folder} is not a folder; choose another place`);
}

/**
 * Opens a file to write it alone: locked until it is closed or the process ends.
 *
 * @throws {LocalgradError} where it is locked already.
 */
export async function openAlone(path: string): Promise<Deno.FsFile> {
  const file = await Deno.open(path, { write: true, create: true });
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

/**
 * Writes a file whole or not at all: beside its place first, through to the disk, then renamed over it. A crash leaves
 * the old file or the new one, never a part.
 *
 * @throws {LocalgradError} where its folder is not there.
 */
export async function writeWhole(path: string, content: Uint8Array | string): Promise<void> {
  const part = `${path}.${Deno.pid}.part`;
  try {
    {
      using file = await Deno.open(part, { write: true, create: true, truncate: true });
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      for (let written = 0; written < bytes.length;) written += await file.write(bytes.subarray(written));
      await file.sync();
    }
    await Deno.rename(part, path);
    await syncFolder(path);
  } catch (error) {
    await Deno.remove(part).catch(() => {}); // it may not have been made
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      throw new LocalgradError(`${path} cannot be written: the folder it is to be in does not exist`);
    }
    throw error;
  }
}
