/** The version of the library; that of `deno.json`, which a program may not be permitted to read. */
export const VERSION = "0.1.0";
