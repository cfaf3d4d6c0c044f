import { dirname } from "node:path";
import { exists, makeFolder } from "../base/files.ts";

/** The folder of a run; disposing of it removes a claimed one that is empty. */
export interface Place extends AsyncDisposable {
  readonly path: string;
}

/**
 * Makes a new folder, adding a number to its name if that is taken: two runs may start in the same second. An empty one
 * is removed again, with its parent if that was made for it.
 */
export async function claimFolder(name: string): Promise<Place> {
  const parent = dirname(name);
  const made = !await exists(parent);
  for (let number = 1;;) {
    const path = number === 1 ? name : `${name}-${number}`;
    await makeFolder(parent);
    try {
      await Deno.mkdir(path); // fails if it exists, also for concurrent callers
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) number++;
      else if (!(error instanceof Deno.errors.NotFound)) throw error; // another run removed the parent
      continue;
    }
    return {
      path,
      async [Symbol.asyncDispose]() {
        for (const folder of [path, ...made ? [parent] : []]) {
          await Deno.remove(folder).catch(() => {}); // fails if it contains files
        }
      },
    };
  }
}

/** The folder given by the user. */
export function namedFolder(path: string): Place {
  return { path, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** The current time for the name of a folder: `20260131-142500`. */
export function timestamp(): string {
  return new Date().toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
}
