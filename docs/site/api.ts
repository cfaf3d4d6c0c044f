import { bar } from "./template.ts";
import { escape, highlight, markdown } from "./markdown.ts";
import { headComment } from "./gallery.ts";
import { linkTo, pageOf } from "./pages.ts";

/** An entry point of the package. */
export interface EntryPoint {
  /** What programs import, such as `@localgrad/localgrad/nn`. */
  readonly specifier: string;
  /** Its name in the reference, such as `nn`; empty for the package itself. */
  readonly name: string;
  /** Its file, from the root of the repository. */
  readonly file: string;
}

/** The entry points that `deno.json` lists. */
export function entryPoints(config: { name: string; exports: Record<string, string> }): EntryPoint[] {
  return Object.entries(config.exports).map(([subpath, file]) => ({
    specifier: config.name + subpath.slice(1),
    name: subpath.slice(2),
    file: file.slice(2),
  }));
}

/** The start page of the API reference: the entry points, and what each is for. */
export function reference(entries: readonly EntryPoint[], root: string): string {
  const rows = entries.map(({ specifier, name, file }) => {
    const page = name === "" ? "api/all_symbols.html" : `api/${name}/index.html`;
    const text = headComment(Deno.readTextFileSync(`${root}/${file}`));
    const purpose = markdown(text.split("\n\n")[0] ?? "", (href) => href);
    return `<article class="card"><h2><a href="${page}"><code>${
      escape(specifier)
    }</code></a></h2>${purpose}</article>`;
  });
  const code = highlight(`import { devices, local, nn } from "@localgrad/localgrad";`, "ts");
  return `<h1>API reference</h1>
<pre><code>${code}</code></pre>
<p>The package exports the namespaces below, and what functions and gradients are written with: <a
href="api/~/Tensor.html"><code>Tensor</code></a>, <a href="api/~/jit.html"><code>jit</code></a>, <a
href="api/~/grad.html"><code>grad</code></a>, <a href="api/~/Device.html"><code>Device</code></a>. <a
href="api/all_symbols.html">All symbols</a> lists everything.</p>
<div class="cards">${rows.join("\n")}</div>`;
}

/**
 * Writes `deno doc --html` of the entry points to `api` in `out`, with the bar of the site, and with links to listings
 * instead of to files of this machine. Returns the files of the repository that it links to.
 */
export async function writeApi(
  entries: readonly EntryPoint[],
  root: string,
  out: string,
): Promise<Set<string>> {
  const copy = `${out}/package`;
  copyPackage(root, copy);
  const whole = Deno.readTextFileSync(`${copy}/mod.ts`);
  Deno.writeTextFileSync(`${copy}/mod.ts`, withoutNamespaces(whole, entries));
  const { success, stderr } = await new Deno.Command("deno", {
    args: ["doc", "--html", "--name=localgrad", `--output=${out}/api`, ...entries.map(({ file }) => file)],
    cwd: copy,
    env: { NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).output();
  Deno.removeSync(copy, { recursive: true });
  if (!success) throw new Error(`deno doc failed:\n${new TextDecoder().decode(stderr)}`);
  const pages = [...filesUnder(out, "api")].filter((file) => file.endsWith(".html"));
  const context = { entries, root: `file://${copy}/`, pages: new Set(pages), linked: new Set<string>() };
  for (const page of pages) {
    const html = await Deno.readTextFile(`${out}/${page}`);
    await Deno.writeTextFile(`${out}/${page}`, mend(html, page, context));
  }
  return context.linked;
}

/** Copies what `deno doc` reads of the repository in `root`. */
function copyPackage(root: string, to: string): void {
  for (const name of ["deno.json", "deno.lock", "mod.ts", "src", "ffi", "kernels"]) {
    if (![...Deno.readDirSync(root)].some((entry) => entry.name === name)) continue;
    const files = Deno.statSync(`${root}/${name}`).isFile ? [name] : filesUnder(root, name);
    for (const file of files) {
      Deno.mkdirSync(`${to}/${file}`.replace(/\/[^/]*$/, ""), { recursive: true });
      Deno.copyFileSync(`${root}/${file}`, `${to}/${file}`);
    }
  }
}

/**
 * The source of `mod.ts` without the namespaces that are entry points too: `deno doc` 2.9.6 shows of a namespace only
 * what its module declares or exports by `export *`, not `export { name } from`. The pages of an entry point show all of
 * its names, and so each is documented once.
 */
export function withoutNamespaces(text: string, entries: readonly EntryPoint[]): string {
  return text.split("\n").filter((line) => {
    const file = line.match(/^export \* as \w+ from "\.\/(.*)";$/)?.[1];
    return !entries.some((entry) => entry.file === file);
  }).join("\n");
}

/** What {@link mend} knows of the reference. */
interface Context {
  readonly entries: readonly EntryPoint[];
  /** The URL of the package. */
  readonly root: string;
  /** The pages of the reference. */
  readonly pages: ReadonlySet<string>;
  /** Receives the files of the repository that are linked. */
  readonly linked: Set<string>;
}

/** A page of `deno doc` as a page of the site. */
function mend(html: string, page: string, { entries, root, pages, linked }: Context): string {
  const links = html.replaceAll(/href="([^"]*)"/g, (whole, written: string) => {
    const href = written.replaceAll("&#x2F;", "/");
    if (href.startsWith(root)) {
      const file = href.slice(root.length);
      linked.add(file);
      return `href="${linkTo(page, pageOf(file))}"`;
    }
    // deno doc 2.9.6 links the parameter of a mapped type to a section that no page has.
    if (href.startsWith("#")) return html.includes(` id="${written.slice(1)}"`) ? whole : "";
    if (/^[a-z]+:/.test(href)) return whole;
    const target = new URL(href, `file:///${page}`).pathname.slice(1);
    if (href === "" || href.endsWith("/")) {
      const index = `${target.replace(/[^/]*$/, "")}index.html`;
      return `href="${linkTo(page, index === "api/index.html" ? "reference.html" : index)}"`;
    }
    if (!target.endsWith(".html") || pages.has(decodeURIComponent(target))) return whole;
    // deno doc 2.9.6 links a name that another entry point or a namespace exports as if the package exported it.
    const [, name = ""] = target.match(/\/~\/([^/]*)$/) ?? [];
    const there = [...pages].find((page) => page.endsWith(`/~/${name}`) || page.endsWith(`.${name}`));
    return name === "" || there === undefined ? whole : `href="${linkTo(page, there)}"`;
  });
  const usage = links.replaceAll(/ from &quot;([^&\n]*)&quot;/g, (whole, name: string) => {
    const entry = entries.find((entry) => entry.name === (name === "." ? "" : name));
    return entry === undefined ? whole : ` from &quot;${entry.specifier}&quot;`;
  });
  return usage
    .replace("</head>", `<link rel="stylesheet" href="${linkTo(page, "bar.css")}"></head>`)
    .replace(/<body[^>]*>/, (body) => `${body}\n${bar(page)}`);
}

/** The files in a folder of `root` and in those below. */
export function* filesUnder(root: string, folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(`${root}/${folder}`)) {
    const path = folder === "" ? name : `${folder}/${name}`;
    if (isDirectory) yield* filesUnder(root, path);
    else yield path;
  }
}
