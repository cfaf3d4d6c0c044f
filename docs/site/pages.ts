/** A page of the site that is written in Markdown. */
export interface Guide {
  /** Its file, from the root of the repository. */
  readonly file: string;
  /** Its first heading, as plain text. */
  readonly title: string;
  /** Its text. */
  readonly text: string;
}

/** Guides under a heading of the navigation. */
export interface Group {
  readonly name: string;
  readonly guides: readonly Guide[];
}

/** The groups whose guides are chosen by name; other files of `docs` are in `Guides`. */
const CHOSEN: readonly { readonly name: string; readonly files: RegExp }[] = [
  { name: "Start", files: /^(README|docs\/first-hour)\.md$/ },
  { name: "Guides", files: /^$/ },
  { name: "Devices", files: /^docs\/(cuda|onednn|parallel|numerics)\.md$/ },
  { name: "Extending", files: /^docs\/adding-.*\.md$/ },
  { name: "Figures", files: /^docs\/(results|frontier|measurements)\.md$/ },
  { name: "Project", files: /^(CONTRIBUTING|CHANGELOG|findings\/README)\.md$/ },
];

/** Reads the Markdown pages of the repository in `root`, in the groups of the navigation. */
export function readGuides(root: string): Group[] {
  const docs = [...Deno.readDirSync(`${root}/docs`)].map(({ name }) => `docs/${name}`)
    .filter((name) => name.endsWith(".md")).sort();
  const files = ["README.md", ...docs, "CONTRIBUTING.md", "CHANGELOG.md", "findings/README.md"];
  const group = (file: string) => CHOSEN.find(({ files }) => files.test(file))?.name ?? "Guides";
  return CHOSEN.map(({ name }) => ({
    name,
    guides: files.filter((file) => group(file) === name).map((file) => readGuide(root, file)),
  }));
}

function readGuide(root: string, file: string): Guide {
  const text = Deno.readTextFileSync(`${root}/${file}`);
  const heading = text.match(/^# (.+)$/m)?.[1] ?? file;
  return { file, title: file === "README.md" ? "Overview" : heading.replaceAll(/[`*_]/g, ""), text };
}

/** The page of a file of the repository: of Markdown itself, a copy of a picture, or else a listing of its source. */
export function pageOf(file: string): string {
  if (file === "README.md") return "index.html";
  if (file.endsWith(".md")) return file.replace(/\.md$/, ".html");
  return /\.(svg|png)$/.test(file) ? file : `source/${file}.html`;
}

/** The link from one page of the site to another. */
export function linkTo(from: string, to: string): string {
  const up = from.split("/").length - 1;
  return "../".repeat(up) + to.split("/").map(encodeURIComponent).join("/");
}
