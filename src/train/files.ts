/** Reads a file; undefined where there is none. */
export async function readIfThere(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Writes a file whole or not at all: beside its place first, through to the disk, then renamed over it. A crash leaves
 * the old file or the new one, never a part.
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
  } catch (error) {
    await Deno.remove(part).catch(() => {}); // it may not have been made
    throw error;
  }
}
