import { escape } from "./markdown.ts";
import { type Group, linkTo, pageOf } from "./pages.ts";

/** What a page of the site shows besides its navigation. */
export interface Content {
  /** Its place in the site, such as `docs/memory.html`. */
  readonly path: string;
  readonly title: string;
  /** HTML. */
  readonly body: string;
}

/** The parts of the site, which every page links to. */
const PARTS: readonly (readonly [page: string, name: string])[] = [
  ["index.html", "localgrad"],
  ["docs/first-hour.html", "First hour"],
  ["gallery.html", "Examples"],
  ["reference.html", "API reference"],
];

/** The bar at the top of every page, the API reference's too. */
export function bar(path: string): string {
  const links = PARTS.map(([page, name]) =>
    `<a href="${linkTo(path, page)}"${page === path ? ' aria-current="page"' : ""}>${escape(name)}</a>`
  );
  return `<nav class="site-bar" aria-label="Site">${links.join("")}</nav>`;
}

/** A whole page: the bar, the guides beside it, and its content. */
export function template({ path, title, body }: Content, groups: readonly Group[]): string {
  const lists = groups.map(({ name, guides }) => {
    const items = guides.map(({ file, title }) => {
      const page = pageOf(file);
      const current = page === path ? ' aria-current="page"' : "";
      return `<li><a href="${linkTo(path, page)}"${current}>${escape(title)}</a></li>`;
    });
    return `<h2>${escape(name)}</h2><ul>${items.join("")}</ul>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(path === "index.html" ? "localgrad" : `${title} – localgrad`)}</title>
<link rel="stylesheet" href="${linkTo(path, "bar.css")}">
<link rel="stylesheet" href="${linkTo(path, "site.css")}">
</head>
<body>
${bar(path)}
<div class="columns">
<details class="guides"><summary>Guides</summary><nav aria-label="Guides">${lists.join("")}</nav></details>
<main>
${body}
</main>
</div>
<script>
const guides = document.querySelector(".guides");
const wide = matchMedia("(min-width: 900px)");
const fit = () => guides.open = wide.matches;
wide.addEventListener("change", fit);
fit();
</script>
</body>
</html>
`;
}
