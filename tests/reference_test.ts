/** `deno doc`: no entry point and no namespace of the package is empty. */

import { assert } from "@std/assert";
import library from "../deno.json" with { type: "json" };
import { root } from "./serve.ts";

interface Documented {
  readonly name: string;
  readonly declarations: readonly {
    readonly kind: string;
    readonly def?: { readonly elements?: readonly Documented[] };
  }[];
}

/** The names that `deno doc` prints for a module. */
async function documented(file: string): Promise<readonly Documented[]> {
  const { stdout } = await new Deno.Command("deno", { args: ["doc", "--json", file], cwd: root }).output();
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
  return Object.values<{ symbols: readonly Documented[] }>(nodes).flatMap(({ symbols }) => symbols);
}

Deno.test("deno doc lists names for each entry point, and within each namespace of mod.ts", async () => {
  const modules = Object.values(library.exports).filter((file) => !file.startsWith("./src/cli/"));
  for (const file of modules) assert((await documented(file)).length > 0, `${file} is empty`);
  const namespaces = (await documented("mod.ts")).flatMap(({ name, declarations }) =>
    declarations.filter(({ kind }) => kind === "namespace").map(({ def }) => ({
      name,
      elements: def?.elements,
    }))
  );
  assert(namespaces.length > 8, `${namespaces.length} namespaces`);
  for (const { name, elements } of namespaces) assert(elements?.length, `the namespace ${name} is empty`);
});
