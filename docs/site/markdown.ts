import GithubSlugger from "npm:github-slugger@2.0.0";
import hljs from "npm:highlight.js@11.12.0/lib/common";
import { Marked } from "npm:marked@18.2.1";

/** Finds the target of a link or a picture; throws where there is none. */
export type Resolve = (href: string) => string;

/** Escapes text for HTML and its attributes. */
export function escape(text: string): string {
  const names: Record<string, string> = { "&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "#39" };
  return text.replace(/[&<>"']/g, (character) => `&${names[character]};`);
}

/** Code as HTML with its parts marked; a language that is not known is left plain. */
export function highlight(code: string, language: string): string {
  if (hljs.getLanguage(language) === undefined) return escape(code);
  return hljs.highlight(code, { language, ignoreIllegals: true }).value;
}

const UNBROKEN = 34; // characters of a word that fit into the narrowest page

/** Keeps browsers from breaking code at hyphens, which would tear flags apart; long words may be broken. */
function unbroken(html: string): string {
  return html.replaceAll(
    /[^\s]*-[^\s]*/g,
    (word) => word.length > UNBROKEN ? word : `<span class="whole">${word}</span>`,
  );
}

/** GitHub's Markdown as HTML: headings have GitHub's anchors, and tables may be scrolled. */
export function markdown(text: string, resolve: Resolve): string {
  const slugger = new GithubSlugger();
  const marked = new Marked({
    gfm: true,
    renderer: {
      heading({ tokens, depth }) {
        const inner = this.parser.parseInline(tokens);
        const id = slugger.slug(this.parser.parseInline(tokens, this.parser.textRenderer));
        return `<h${depth} id="${escape(id)}">${inner}${
          depth === 1
            ? ""
            : ` <a class="anchor" href="#${escape(id)}" aria-label="Link to this section">#</a>`
        }</h${depth}>\n`;
      },
      link({ href, tokens }) {
        return `<a href="${escape(resolve(href))}">${this.parser.parseInline(tokens)}</a>`;
      },
      image({ href, text }) {
        return `<img src="${escape(resolve(href))}" alt="${escape(text)}">`;
      },
      codespan({ text }) {
        return `<code>${unbroken(escape(text))}</code>`;
      },
      code({ text, lang }) {
        const language = lang?.split(/\s/)[0] ?? "";
        const html = language === "" ? unbroken(escape(text)) : highlight(text, language);
        return `<pre tabindex="0"><code>${html}</code></pre>\n`;
      },
    },
  });
  const html = marked.parse(text, { async: false });
  return html.replaceAll("<table>", '<div class="scroll" tabindex="0"><table>')
    .replaceAll("</table>", "</table></div>");
}
