import { readHeaders } from "./headers.ts";

/**
 * Loads a stand-in for libcuda without a card: every function returns that error. One of cuDNN's engine libraries is
 * linked to libcuda and cannot be loaded without it, although planning for a described card never calls it. Returns true
 * if a libcuda is loaded now, the machine's own or the stand-in, which needs g++.
 */
export function loadDriverStandIn(header: string): boolean {
  try {
    Deno.dlopen("libcuda.so.1", {}).close();
    return true;
  } catch { /* none on this machine */ }
  const { functions, renamed } = readHeaders([header]);
  const names = [...new Set([...functions.keys(), ...renamed.keys()])].filter((name) =>
    /^cu[A-Z]/.test(name)
  );
  const folder = Deno.makeTempDirSync({ prefix: "localgrad-libcuda-" });
  try {
    const noDevice = 100;
    const source = names.map((name) => `extern "C" int ${name}() { return ${noDevice}; }\n`).join("");
    Deno.writeTextFileSync(`${folder}/libcuda.cpp`, source);
    const { success, stderr } = new Deno.Command("g++", {
      args: [
        "-shared",
        "-fPIC",
        "-Wl,-soname,libcuda.so.1",
        "-o",
        `${folder}/libcuda.so.1`,
        `${folder}/libcuda.cpp`,
      ],
    }).outputSync();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    Deno.dlopen(`${folder}/libcuda.so.1`, {});
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
