/**
 * Builds the documentation as a site of plain files: the guides, the examples, and the API reference.
 *
 *     deno task docs
 *
 * @module
 */

import { fromFileUrl } from "@std/path";
import { type EntryPoint, entryPoints, reference, writeApi } from "./api.ts";
import { deadLinks } from "./links.ts";
import { gallery, listing, readExamples } from "./gallery.ts";
import { markdown } from "./markdown.ts";
import { linkTo, pageOf, readGuides } from "./pages.ts";
import { template } from "./template.ts";

/** Builds the site of the repository in the folder `repository` into the folder `out`, which it replaces. */
export async function build(repository: string, out: string): Promise<void> {
  const root = repository.replace(/\/$/, "");
  await Deno.remove(out, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await Deno.mkdir(out, { recursive: true });
  const entries: EntryPoint[] = entryPoints(JSON.parse(await Deno.readTextFile(`${root}/deno.json`)));
  const linked = await writeApi(entries, root, out);
  const groups = readGuides(root);
  const write = async (path: string, title: string, body: string) => {
    await makeFolderOf(`${out}/${path}`);
    await Deno.writeTextFile(`${out}/${path}`, template({ path, title, body }, groups));
  };
  /** Resolves links that are written in `file` and shown on `page`. */
  const resolveIn = (file: string, page: string) => (href: string): string => {
    if (/^[a-z]+:|^#/.test(href)) return href;
    const [path = "", anchor] = href.split("#");
    const target = new URL(path, `file:///${file}`).pathname.slice(1);
    if (!isFile(`${root}/${target}`)) throw new Error(`${file} links to ${href}, which is no file`);
    linked.add(target);
    return linkTo(page, pageOf(target)) + (anchor === undefined ? "" : `#${anchor}`);
  };
  for (const { file, title, text } of groups.flatMap(({ guides }) => guides)) {
    const path = pageOf(file);
    await write(path, title, markdown(text, resolveIn(file, path)));
  }
  const examples = readExamples(root);
  const inGallery = gallery(examples, "gallery.html", resolveIn("examples/", "gallery.html"));
  await write("gallery.html", "Examples", inGallery);
  await write("reference.html", "API reference", reference(entries, root));
  for (const { file, picture } of examples) {
    linked.add(file);
    if (picture !== undefined) linked.add(picture);
  }
  for (const file of linked) {
    const path = pageOf(file);
    if (file.endsWith(".md")) continue;
    await makeFolderOf(`${out}/${path}`);
    if (path === file) await Deno.copyFile(`${root}/${file}`, `${out}/${file}`);
    else await write(path, file, listing(file, await Deno.readTextFile(`${root}/${file}`)));
  }
  for (const style of ["site.css", "bar.css"]) {
    await Deno.copyFile(`${root}/docs/site/${style}`, `${out}/${style}`);
  }
}

const makeFolderOf = (path: string) => Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

if (import.meta.main) {
  if (Deno.args.length > 0) {
    console.error(`error: docs takes no arguments, but got ${Deno.args.join(" ")}`);
    Deno.exit(2);
  }
  const root = fromFileUrl(new URL("../..", import.meta.url)).replace(/\/$/, "");
  await build(root, `${root}/site`);
  const dead = await deadLinks(`${root}/site`);
  if (dead.length > 0) {
    console.error(`dead links:\n${dead.join("\n")}`);
    Deno.exit(1);
  }
  console.log(`file://${root}/site/index.html`);
}
