/**
 * Checks the layers of the library: no module imports one of a higher layer, and no modules import each other in a
 * circle, types included. Run by `deno task check`.
 */

/**
 * The layers, lowest first, as `docs/how-it-works.md` prints them. A module may import its own layer and those before
 * it.
 */
export const LAYERS: readonly string[] = [
  "src/base",
  "ffi",
  "kernels",
  "src/trace",
  "src/autograd",
  "src/compile",
  "src/backends",
  "src/runtime",
  "src/nn",
  "src/optim",
  "src/models",
  "src/data",
  "src/local",
  "src/artifacts",
  "src/predict",
  "src/onnx",
  "src/training",
  "src/lint",
  "src/*.ts",
  "mod.ts",
  "src/cli",
];

/**
 * Circles that are intended: a tensor records instructions in the trace that made it, and an array is on the device that
 * made it. Types only.
 */
const MEANT: readonly string[] = [
  "src/trace/tensor.ts, src/trace/trace.ts",
  "src/runtime/arrays.ts, src/runtime/device_array.ts",
];

/** Modules by path, each with the paths it imports. */
export type Imports = ReadonlyMap<string, readonly string[]>;

/** One line for each import that breaks a rule. */
export function faults(imports: Imports): string[] {
  const found: string[] = [];
  for (const [from, targets] of imports) {
    for (const to of targets) {
      if (layerOf(from) < layerOf(to)) {
        found.push(`${from} imports ${to}, which is of the higher layer ${LAYERS[layerOf(to)]}`);
      }
    }
  }
  for (const circle of circles(imports)) {
    const names = circle.toSorted().join(", ");
    if (!MEANT.includes(names)) found.push(`import each other in a circle: ${names}`);
  }
  return found;
}

/** The modules of all layers with their imports; tests are left out. */
export async function readImports(root: string): Promise<Imports> {
  const imports = new Map<string, string[]>();
  for (const top of ["mod.ts", "src", "ffi"]) {
    for await (const path of modulesUnder(root, top)) {
      const source = await Deno.readTextFile(`${root}/${path}`);
      const targets = [...source.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? "");
      imports.set(path, targets.map((target) => new URL(target, `file:///${path}`).pathname.slice(1)));
    }
  }
  return imports;
}

/** The path of `import … from "./path"`, `export … from "./path"` or `import("./path")`. */
const IMPORT = /^(?:import|export)\b[^;"]*"(\.[^"]+)"|\bimport\(\s*"(\.[^"]+)"/gm;

/** The modules under a path, without tests. */
export async function* modulesUnder(root: string, path: string): AsyncGenerator<string> {
  if ((await Deno.stat(`${root}/${path}`)).isFile) {
    if (path.endsWith(".ts") && !path.endsWith("_test.ts")) yield path;
    return;
  }
  for await (const { name } of Deno.readDir(`${root}/${path}`)) yield* modulesUnder(root, `${path}/${name}`);
}

/** The number of the layer that a module is in. */
export function layerOf(path: string): number {
  const layer = LAYERS.findIndex((layer) =>
    layer.endsWith("/*.ts")
      ? path.slice(0, path.lastIndexOf("/")) === layer.slice(0, -5)
      : path === layer || path.startsWith(`${layer}/`)
  );
  if (layer < 0) throw new Error(`${path} is in no layer; add its folder to .ci/layers.ts`);
  return layer;
}

/** The strongly connected components of more than one module, or of one that imports itself (Tarjan, 1972). */
function circles(imports: Imports): string[][] {
  const number = new Map<string, number>();
  const path: string[] = [];
  const found: string[][] = [];
  const visit = (module: string): number => {
    const own = number.size;
    let low = own;
    number.set(module, own);
    path.push(module);
    for (const next of imports.get(module) ?? []) {
      if (!number.has(next)) low = Math.min(low, visit(next));
      else if (path.includes(next)) low = Math.min(low, number.get(next) ?? low);
    }
    if (low === own) {
      const group = path.splice(path.indexOf(module));
      if (group.length > 1 || imports.get(module)?.includes(module)) found.push(group);
    }
    return low;
  };
  for (const module of imports.keys()) if (!number.has(module)) visit(module);
  return found;
}

if (import.meta.main) {
  const found = faults(await readImports("."));
  for (const fault of found) console.error(fault);
  if (found.length > 0) Deno.exit(1);
}
