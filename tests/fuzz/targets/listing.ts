import { listImages } from "../../../src/data/folder/listing.ts";
import type { MakeTarget } from "../harness.ts";
import { damaged } from "../mutate.ts";
import type { Random } from "../random.ts";

const VALID = ["train/a/1.png", "train/a/2.JPG", "train/b/1.webp", "val/a/1.png", "val/b/1.tif"];
const NAMES = [
  ...[
    ".hidden",
    "a",
    "b",
    "c",
    "x.png",
    "x",
    "notes.txt",
    "é.png",
    "\u202e.png",
    "line\nbreak",
    "train",
    "val",
  ],
  ...["-", "x".repeat(200), "a.b.c", "__proto__", "validation", "1.", ".png", "%2e", "$(x)", "\\", '"'],
];
const LINKS = [".", "..", "nowhere", "../a", "/nonexistent", "1.png"];

/** Paths of files, or of links with their targets, one per line. */
function tree(random: Random): Uint8Array<ArrayBuffer> {
  const lines = VALID.filter(() => random.percent(95));
  for (let left = random.below(5); left > 0; left--) {
    const place = random.pick(["", "train/", "val/", "train/a/", "train/b/", "val/b/"]);
    const name = random.pick(NAMES).replace("\n", "\\n");
    const below = random.percent(30) ? `/${random.pick(NAMES).replace("\n", "\\n")}` : "";
    lines.push(place + name + below + (random.percent(25) ? `\0${random.pick(LINKS)}` : ""));
  }
  const bytes = new TextEncoder().encode(lines.join("\n"));
  return random.percent(20) ? damaged(random, [bytes]) : bytes;
}

/** Makes the files and links, as far as the file system allows. */
async function make(root: string, input: Uint8Array): Promise<void> {
  for (const line of new TextDecoder().decode(input).split("\n")) {
    const [name, link] = line.replaceAll("\\n", "\n").split("\0");
    const path = `${root}/${name.split("/").filter((part) => part !== "..").join("/")}`;
    try {
      await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      if (link === undefined) await Deno.writeFile(path, new Uint8Array());
      else await Deno.symlink(link, path);
    } catch {
      // an impossible name, or one that is taken
    }
  }
}

/** `listImages` on folders with odd names and links. */
export const target: MakeTarget = (folder) => ({
  input: tree,
  async read(input) {
    const root = `${folder}/set`;
    await Deno.mkdir(root);
    try {
      await make(root, input);
      const { classes, train, test } = await listImages(root);
      for (const { paths, labels } of [train, test]) {
        if (paths.length !== labels.length) throw new Error("wrong lengths");
        paths.forEach((path, i) => {
          if (!path.includes(`/${classes[labels[i]]}/`)) throw new Error("a wrong label");
        });
      }
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  },
});
