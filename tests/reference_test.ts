/** `deno doc`: each entry point lists every public name, and each namespace of `mod.ts` says where its names are. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import library from "../deno.json" with { type: "json" };
import { root } from "./serve.ts";

interface Documented {
  readonly name: string;
  readonly declarations: readonly {
    readonly kind: string;
    readonly jsDoc?: { readonly doc?: string };
    readonly def?: { readonly elements?: readonly { readonly name: string }[] };
  }[];
}

/** What `deno doc` prints for a module. */
async function documented(file: string): Promise<readonly Documented[]> {
  const { stdout } = await new Deno.Command("deno", { args: ["doc", "--json", file], cwd: root }).output();
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
  return Object.values<{ symbols: readonly Documented[] }>(nodes).flatMap(({ symbols }) => symbols)
    .filter(({ name }) => name !== ""); // the module itself
}

/** The names that a module exports, types too, as its source says. */
function exported(file: URL): Set<string> {
  const source = Deno.readTextFileSync(file).replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, "");
  const names = new Set<string>();
  for (
    const [, name = ""] of source.matchAll(
      /^export (?:declare )?(?:abstract )?(?:async )?(?:const|function\*?|class|interface|type(?! [*{])) (\w+)/gm,
    )
  ) names.add(name);
  for (const [, list = ""] of source.matchAll(/^export (?:type )?\{([^}]*)\}/gm)) {
    for (const part of list.split(",")) {
      const name = part.trim().split(/\s+/).at(-1);
      if (name) names.add(name);
    }
  }
  for (const [, namespace] of source.matchAll(/^export \* as (\w+) from/gm)) names.add(namespace ?? "");
  for (const [, from = ""] of source.matchAll(/^export (?:type )?\* from "(.*?)"/gm)) {
    for (const name of exported(new URL(from, file))) names.add(name);
  }
  return names;
}

const entries = Object.entries(library.exports).filter(([path]) => path !== "./cli" && path !== "./lint");
const VALUES = ["function", "variable", "class", "namespace"];

Deno.test("deno doc lists for each entry point every name that it exports, values and types", async () => {
  for (const [, file] of entries) {
    const url = new URL(file, `file://${root}/`);
    const listed = await documented(file);
    assertEquals(listed.map(({ name }) => name).sort(), [...exported(url)].sort(), file);
    const values = listed.filter(({ declarations }) =>
      declarations.some(({ kind }) => VALUES.includes(kind))
    );
    const names = values.map(({ name }) => name); // and classes that `export type *` exports as types only
    assertEquals(Object.keys(await import(url.href)).filter((name) => !names.includes(name)), [], file);
  }
});

Deno.test("a namespace of mod.ts lists every name, or says which entry point does", async () => {
  const whole = await import("../mod.ts");
  const spaces = (await documented("mod.ts")).flatMap(({ name, declarations: [first] }) =>
    first?.kind === "namespace"
      ? [{ name, doc: first.jsDoc?.doc ?? "", elements: first.def?.elements ?? [] }]
      : []
  );
  assert(spaces.length > 8, `${spaces.length} namespaces`);
  for (const { name, doc, elements } of spaces) {
    const namespace = Object.keys(Object(Object.entries(whole).find(([key]) => key === name)?.[1]));
    const entry = entries.find(([path]) => path === `./${name}`)?.[1];
    const listed = new Set(elements.map(({ name }) => name));
    if (namespace.every((name) => listed.has(name))) continue;
    assertStringIncludes(doc, `All names: \`deno doc ${entry?.slice(2)}\``, name);
    assertEquals(Object.keys(await import(`../${entry}`)), namespace, name);
  }
});
