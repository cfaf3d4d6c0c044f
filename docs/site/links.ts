import { filesUnder } from "./api.ts";

/** The links of a built site to pages, files or sections that are not there, each as `page: link`. */
export async function deadLinks(site: string): Promise<string[]> {
  const files = new Set(filesUnder(site, ""));
  const anchors = new Map<string, ReadonlySet<string>>();
  const links: { readonly page: string; readonly link: string }[] = [];
  for (const page of files) {
    if (!page.endsWith(".html")) continue;
    const html = await Deno.readTextFile(`${site}/${page}`);
    anchors.set(page, new Set([...html.matchAll(/ id="([^"]*)"/g)].map(([, id = ""]) => unescape(id))));
    for (const [, link = ""] of html.matchAll(/<(?:a|link|img|script)\b[^>]* (?:href|src)="([^"]*)"/g)) {
      if (!/^(https?|mailto|data):/.test(link)) links.push({ page, link: unescape(link) });
    }
  }
  const dead = links.filter(({ page, link }) => {
    if (!URL.canParse(link, `site:///${page}`)) return true;
    const url = new URL(link, `site:///${page}`);
    const target = decodeURIComponent(url.pathname.slice(1));
    const anchor = decodeURIComponent(url.hash.slice(1));
    return url.protocol !== "site:" || !files.has(target) ||
      (anchor !== "" && anchors.get(target)?.has(anchor) === false);
  });
  return dead.map(({ page, link }) => `${page}: ${link}`);
}

/** Text written with the character references that `deno doc` and this site write. */
function unescape(html: string): string {
  const characters: Record<string, string> = {
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&#39;": "'",
    "&#x27;": "'",
    "&#x2F;": "/",
  };
  return html.replaceAll(/&(?:#?\w+);/g, (reference) => characters[reference] ?? reference);
}
