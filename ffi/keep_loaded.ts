import { cString } from "./memory.ts";

const RTLD_NOW = 2, RTLD_NOLOAD = 4;

/**
 * Takes a further reference to a loaded library, and never releases it. Deno closes the libraries of a worker or test
 * file when that ends, and cuDNN crashes in an engine if it is unloaded and loaded again in one process. If libc may not
 * be opened, only such a process is affected.
 */
export function keepLoaded(path: string): void {
  try {
    const libc = Deno.dlopen(
      "libc.so.6",
      { dlopen: { parameters: ["buffer", /* filename */ "i32" /* flags */], result: "pointer" } } as const,
    );
    libc.symbols.dlopen(cString(path), RTLD_NOW | RTLD_NOLOAD);
    libc.close();
  } catch { /* libc may not be opened */ }
}
