/** `deno task docs`: the pages are there, and every link leads somewhere. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import library from "../deno.json" with { type: "json" };
import { build } from "../docs/site/build.ts";
import { deadLinks } from "../docs/site/links.ts";
import { markdown } from "../docs/site/markdown.ts";
import { bars, curves, tiles } from "../docs/site/draw.ts";
import { readExamples } from "../docs/site/gallery.ts";
import { printedErrors, printedLosses, rowsOf } from "../docs/site/outputs.ts";
import { SCENES } from "../docs/site/pictures.ts";
import { inFolder } from "./in_folder.ts";
import { root } from "./serve.ts";

Deno.test("the site has guides, examples and the reference, and no dead link", () =>
  inFolder(async (out) => {
    await build(root, out);
    assertEquals(await deadLinks(out), []);
    const read = (page: string) => Deno.readTextFile(`${out}/${page}`);

    const start = await read("index.html");
    for (const page of ["docs/first-hour.html", "docs/how-it-works.html", "gallery.html", "reference.html"]) {
      assertStringIncludes(start, `href="${page}"`);
    }
    assertStringIncludes(start, `href="source/examples/own_data.ts.html"`);
    assertStringIncludes(await read("docs/results.html"), `<img src="../docs/probe.svg"`);
    assertStringIncludes(await read("gallery.html"), "own_network.ts");
    for (const { picture } of readExamples(root)) {
      assertStringIncludes(await read("gallery.html"), `<img src="${picture}"`);
    }

    const reference = await read("reference.html");
    for (const subpath of Object.keys(library.exports)) {
      assertStringIncludes(reference, `<code>${library.name}${subpath.slice(1)}</code>`);
    }
    const trainer = await read("api/local/~/trainer.html");
    assertStringIncludes(trainer, `href="../../../source/src/training/trainer.ts.html"`);
    assertStringIncludes(trainer, `from &quot;@localgrad/localgrad/local&quot;`);
    assertStringIncludes(trainer, `href="../../../gallery.html"`);
    const names = {
      data: ["cifar10", "ImageDataset"],
      nn: ["conv", "flatten", "Layer"],
      train: ["readReport"],
    };
    for (const [entry, shown] of Object.entries(names)) {
      const page = await read(`api/${entry}/index.html`);
      for (const name of shown) assertStringIncludes(page, `title="${name}"`);
    }
    assertStringIncludes(await read("api/search_index.js"), `"name":"flatten","file":"nn"`);
    assertEquals([...Deno.readDirSync(`${out}/api/~`)].filter(({ name }) => name.startsWith("nn.")), []);
  }));

Deno.test("deadLinks() names missing pages, files and sections, and links out of the site", () =>
  inFolder(async (site) => {
    await Deno.mkdir(`${site}/docs`);
    await Deno.writeTextFile(
      `${site}/index.html`,
      `<h2 id="a">A</h2><a href="docs/b.html#b">b</a> <a href="#a">a</a>`,
    );
    await Deno.writeTextFile(
      `${site}/docs/b.html`,
      `<a href="../index.html#c"></a><a class="x" href="gone.html"></a><img src="gone.svg"><link rel="stylesheet" href="gone.css">` +
        `<a href="file:///tmp"></a><a href="https://deno.com"></a><a href="../docs/"></a>`,
    );
    assertEquals((await deadLinks(site)).sort(), [
      "docs/b.html: ../docs/",
      "docs/b.html: ../index.html#c",
      "docs/b.html: file:///tmp",
      "docs/b.html: gone.css",
      "docs/b.html: gone.html",
      "docs/b.html: gone.svg",
      "index.html: docs/b.html#b",
    ]);
  }));

Deno.test("a guide that links to a file that is not there is refused, with both names", () =>
  inFolder(async (repository) => {
    await Deno.mkdir(`${repository}/docs`);
    await Deno.mkdir(`${repository}/findings`);
    for (const file of ["CONTRIBUTING.md", "CHANGELOG.md", "findings/README.md", "docs/a.md"]) {
      await Deno.writeTextFile(`${repository}/${file}`, "# Title\n");
    }
    await Deno.writeTextFile(`${repository}/README.md`, "[a](docs/a.md) [b](docs/b.md)");
    await Deno.writeTextFile(`${repository}/mod.ts`, "/** One. */\nexport const one = 1;\n");
    await Deno.writeTextFile(`${repository}/deno.json`, `{ "name": "@a/b", "exports": { ".": "./mod.ts" } }`);
    await assertRejects(
      () => build(repository, `${repository}/site`),
      Error,
      "README.md links to docs/b.md, which is no file",
    );
  }));

Deno.test("the picture of memory_limit.ts has a bar for each row that it prints", () => {
  const rows = rowsOf(
    "end to end      900 MiB  too large\nMAN in 2 modules  300 MiB  fits\nthe first that fits …\n",
  );
  assertEquals(rows.map(({ mebibytes, fits }) => [mebibytes, fits]), [[900, false], [300, true]]);
  assertEquals(bars(rows, 400).match(/height="18"/g)?.length, 2);
});

Deno.test("each example has a picture that deno task pictures draws, well-formed and small", () => {
  const examples = readExamples(root);
  assertEquals(
    Object.keys(SCENES).map((name) => `examples/${name}`).sort(),
    examples.map(({ file }) => file),
  );
  for (const { file, picture } of examples) {
    assertEquals(picture, file.replace(/\.ts$/, ".svg"));
    const svg = Deno.readTextFileSync(`${root}${picture}`);
    assertEquals(faultOf(svg), undefined, picture);
    assert(svg.startsWith(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 `), picture);
    assert(svg.length < 60_000, `${picture}: ${svg.length} bytes`);
    assertEquals(/NaN|undefined|Infinity/.test(svg.replaceAll(/base64,[^"]*/g, "")), false, picture);
  }
  assertEquals(faultOf("<svg><a></svg>"), "</svg> closes <a>");
  assertEquals(faultOf("<svg><text>a & b</text></svg>"), "& in a & b");
});

/** What makes an SVG that `docs/site` draws no well-formed XML (elements, quoted attributes, text), if anything does. */
function faultOf(svg: string): string | undefined {
  const open: string[] = [];
  const tag = /<(\/?)([a-z]+)((?: [a-zA-Z-]+="[^"<&]*")*)(\/?)>|([^<]+)/gy;
  let end = 0;
  for (const [all, closes, name = "", , empty, text] of svg.matchAll(tag)) {
    end += all.length;
    if (text !== undefined) {
      if (/&(?!(?:amp|lt|gt|quot|#39);)/.test(text)) return `& in ${text}`;
      if (open.length === 0 && text.trim() !== "") return `${text} outside of elements`;
    } else if (closes) {
      const last = open.pop();
      if (last !== name) return `</${name}> closes <${last}>`;
    } else if (!empty) open.push(name);
  }
  if (end < svg.length) return `at ${svg.slice(end, end + 40)}`;
  return open.length === 0 ? undefined : `<${open.at(-1)}> is not closed`;
}

Deno.test("curves() and tiles() draw each line and picture; outputs of examples are read as figures", () => {
  const losses = printedLosses(
    "cpu\nepoch 1: losses 2.5 1.25, test error 9.0 %\nepoch 2: losses 2.0 1.0, test\n",
  );
  assertEquals(losses, [[[1, 2.5], [2, 2]], [[1, 1.25], [2, 1]]]);
  assertEquals(printedLosses("step 1: loss 2.5\n"), [[[1, 2.5]]]);
  const errors = printedErrors("a, epoch 4: mean absolute error 0.5\na: mean absolute error 0.1; the\n");
  assertEquals(errors, [{ name: "a", points: [[4, 0.5]] }]);
  const bits = printedErrors("a+b, step 50: 3.25 bits a byte in training\na+b: 3.1 bits a byte; planned\n");
  assertEquals(bits, [{ name: "a+b", points: [[50, 3.25]] }]);
  const lines = losses.map((points, i) => ({ name: `<${i}>`, points }));
  const drawn = curves(lines, { x: "epoch", y: "loss" });
  assertEquals(faultOf(drawn), undefined);
  assertEquals([...drawn.matchAll(/<polyline points="([^"]*)"/g)].map(([, points]) => points), [
    "60,16 420,54.8",
    "60,113 420,132.4",
  ]);
  assertStringIncludes(drawn, "&lt;0&gt;");
  const grid = tiles(
    [{ png: "AA==", lines: ["a"] }, { png: "AA==", lines: ["b", "is a"], right: false }],
    60,
  );
  assertEquals([faultOf(grid), grid.match(/<image /g)?.length, grid.match(/stroke="#e15759"/g)?.length], [
    undefined,
    2,
    1,
  ]);
});

Deno.test("markdown() writes GitHub's tables and anchors, and marks the parts of code", () => {
  const html = markdown(
    '## A `b` & c\n\n| a | b |\n| --- | --: |\n| [x](y.md) | 1 |\n\n```ts ignore\nconst a = "<";\n```\n\n```\n<a>\n```\n',
    (href) => `to/${href}`,
  );
  assertStringIncludes(html, `<h2 id="a-b--c">A <code>b</code> &amp; c`);
  assertStringIncludes(html, `<td><a href="to/y.md">x</a></td>\n<td align="right">1</td>`);
  assertStringIncludes(
    html,
    `<span class="hljs-keyword">const</span> a = <span class="hljs-string">&quot;&lt;&quot;</span>`,
  );
  assertStringIncludes(html, `<pre tabindex="0"><code>&lt;a&gt;</code></pre>`);
  const flags = markdown("`train --lr 0.1`, `a < b`", (href) => href);
  assertStringIncludes(
    flags,
    `<code>train <span class="whole">--lr</span> 0.1</code>, <code>a &lt; b</code>`,
  );
});

Deno.test("deno task docs takes no arguments: a flag is refused before the site is removed", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "--no-prompt",
      `--config=${root}deno.json`,
      "-P=docs",
      `${root}docs/site/build.ts`,
      "--open",
    ],
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals(code, 2);
  assertStringIncludes(new TextDecoder().decode(stderr), "error: docs takes no arguments, but got --open");
});
