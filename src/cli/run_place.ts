import { dirname } from "node:path";
import { exists, makeFolder } from "../base/files.ts";

/** The folder of a run. */
export interface Place extends AsyncDisposable {
  readonly path: string;
}

/**
 * Makes a folder that was not there, with a number behind its name where that is taken: two runs may begin in one second.
 * It is removed again where nothing was put into it, with the one it lies in where that was made for it.
 */
export async function claimFolder(name: string): Promise<Place> {
  const parent = dirname(name);
  const made = !await exists(parent);
  for (let number = 1;;) {
    const path = number === 1 ? name : `${name}-${number}`;
    await makeFolder(parent);
    try {
      await Deno.mkdir(path); // fails where it is there, whoever else asks at the same time
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) number++;
      else if (!(error instanceof Deno.errors.NotFound)) throw error; // another run took the one it lies in away
      continue;
    }
    return {
      path,
      async [Symbol.asyncDispose]() {
        for (const folder of [path, ...made ? [parent] : []]) {
          await Deno.remove(folder).catch(() => {}); // which keeps what holds files
        }
      },
    };
  }
}

/** A folder that the user named. */
export function namedFolder(path: string): Place {
  return { path, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** The time for a folder's name: `20260131-142500`. */
export function timestamp(): string {
  return new Date().toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
}
