import { highlight, markdown, type Resolve } from "./markdown.ts";
import { linkTo, pageOf } from "./pages.ts";

/** An example of the gallery. */
export interface Example {
  /** Its file, from the root of the repository. */
  readonly file: string;
  /** What its first comment says, as Markdown. */
  readonly text: string;
  /** A picture of what it shows, which lies next to it under the same name. */
  readonly picture?: string;
}

/** The comment that a file of TypeScript starts with, as Markdown. */
export function headComment(source: string): string {
  const comment = source.match(/^\/\*\*\n?([\s\S]*?)\*\//)?.[1] ?? "";
  return comment.replaceAll(/^ ?\* ?/gm, "").replaceAll(/^@module$/gm, "").trim();
}

/** Reads the examples of the repository in `root`. */
export function readExamples(root: string): Example[] {
  const names = [...Deno.readDirSync(`${root}/examples`)].map(({ name }) => `examples/${name}`).sort();
  return names.filter((name) => name.endsWith(".ts")).map((file) => {
    const picture = names.find((name) => /\.(svg|png)$/.test(name) && name.startsWith(file.slice(0, -2)));
    const text = headComment(Deno.readTextFileSync(`${root}/${file}`));
    return { file, text, ...(picture === undefined ? {} : { picture }) };
  });
}

/** The gallery as HTML: what each example does, how to run it, and its picture if there is one. */
export function gallery(examples: readonly Example[], path: string, resolve: Resolve): string {
  const cards = examples.map(({ file, text, picture }) => {
    const name = file.replace("examples/", "");
    const image = picture === undefined ? "" : `<img src="${linkTo(path, pageOf(picture))}" alt="${name}">`;
    const source = `<a href="${linkTo(path, pageOf(file))}"><code>${name}</code></a>`;
    return `<article class="card"><h2>${source}</h2>${image}${markdown(text, resolve)}</article>`;
  });
  return `<h1>Examples</h1><p>Each is one file, and runs as it is.</p><div class="cards">${
    cards.join("\n")
  }</div>`;
}

/** A file of the repository as HTML. */
export function listing(file: string, text: string): string {
  const language = file.split(".").at(-1) ?? "";
  const code = text.length > 200_000 ? highlight(text, "") : highlight(text, language);
  return `<h1><code>${file}</code></h1><pre tabindex="0"><code>${code}</code></pre>`;
}
