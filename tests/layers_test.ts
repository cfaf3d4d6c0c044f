import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path";
import { faults, LAYERS, readImports } from "../.ci/layers.ts";

const root = fromFileUrl(new URL("..", import.meta.url));

Deno.test("no module imports a higher layer, and no modules import each other in a circle", async () => {
  const imports = await readImports(root);
  assert(imports.size > 200);
  assertEquals(faults(imports), []);
});

Deno.test("a planted import of a higher layer and a planted circle are found", async () => {
  const imports = new Map(await readImports(root));
  imports.set("src/trace/planted.ts", ["src/runtime/jit.ts"]);
  imports.set("src/nn/one.ts", ["src/nn/two.ts"]);
  imports.set("src/nn/two.ts", ["src/nn/three.ts"]);
  imports.set("src/nn/three.ts", ["src/nn/one.ts"]);
  assertEquals(faults(imports), [
    "src/trace/planted.ts imports src/runtime/jit.ts, which is of the higher layer src/runtime",
    "import each other in a circle: src/nn/one.ts, src/nn/three.ts, src/nn/two.ts",
  ]);
});

Deno.test("the documentation prints the layers", () => {
  const text = Deno.readTextFileSync(`${root}docs/how-it-works.md`);
  const rows = [...text.matchAll(/^\| `([^`]+)` +\|/gm)].map((match) => match[1]);
  assertEquals(rows, [...LAYERS]);
});
