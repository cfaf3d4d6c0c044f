/** docs/first-hour.md, step by step in a project of its own, with fewer pictures and epochs; and its examples. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import library from "../deno.json" with { type: "json" };
import { photographs, write } from "./dataset_files.ts";
import { inFolder } from "./in_folder.ts";
import { root } from "./serve.ts";

const guide = Deno.readTextFileSync(`${root}docs/first-hour.md`);

/** The code of the first block after a text of the guide. */
function after(text: string): string {
  const rest = guide.slice(guide.indexOf(text));
  assert(rest.length > 1, `the guide has no ${text}`);
  return /```\w+[^\n]*\n([^]*?)```/.exec(rest)?.[1] ?? "";
}

/** A command of the guide. */
function command(start: string): string[] {
  const line = guide.split("\n").find((line) => line.startsWith(start));
  assert(line !== undefined, `the guide has no ${start}`);
  return (line ?? "").split(" ").slice(1);
}

/** The code of an example, with the names of a project's imports. */
function example(name: string): string {
  const text = Deno.readTextFileSync(`${root}examples/${name}`).replace(/^[^]*?\*\/\n\n/, "");
  return Object.entries(library.exports).reduce(
    (code, [subpath, file]) =>
      code.replace(`"../${file.slice(2)}"`, `"@localgrad/localgrad${subpath.slice(1)}"`),
    text,
  );
}

const small = (code: string) =>
  code.replace("resnet20", "resnet8").replaceAll("size: 64", "size: 24").replace("epochs = 30", "epochs = 2")
    .replace("warmup: 1", "warmup: 0").replace("batch: 32", "batch: 3");

function deno(cwd: string, args: readonly string[]): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: [args[0], "-q", "--no-prompt", ...args.slice(1)],
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

async function runs(cwd: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await deno(cwd, args).output();
  const [said, complained] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals(code, 0, `deno ${args.join(" ")}:\n${said}\n${complained}`);
  return said;
}

Deno.test("the first hour: own pictures are trained on, saved, predicted, exported and served to 32 at once", () =>
  inFolder(async (dir) => {
    assertEquals(after("`train.ts`"), example("own_data.ts"));
    assertEquals(after("`serve.ts`"), example("prediction_service.ts"));
    const imports = Object.entries(library.exports).map(([subpath, file]) => [
      `@localgrad/localgrad${subpath.slice(1)}`,
      `${root}${file.slice(2)}`,
    ]);
    await Deno.writeTextFile(`${dir}/deno.json`, JSON.stringify({ imports: Object.fromEntries(imports) }));
    await write(`${dir}/flowers`, photographs());
    for (const name of ["train", "predict", "export", "serve"]) {
      await Deno.writeTextFile(`${dir}/${name}.ts`, small(after(`\`${name}.ts\``)));
    }
    const trained = await runs(dir, command("deno run --allow-read=flowers,runs --allow-write=runs"));
    assertMatch(trained, /^lowest test error \d+\.\d %; see runs\/flowers\/report\.html$/m);
    const report = await Deno.readTextFile(`${dir}/runs/flowers/report.html`);
    for (const part of ["Confusion after epoch 2", "<h2>Predictions"]) assertStringIncludes(report, part);
    const predicted = await runs(dir, command("deno run --allow-read=flowers,runs predict.ts"));
    const rows = predicted.split("\n").slice(0, 2).map((line) => line.split(" "));
    assertEquals(rows.map(([file]) => file), ["flowers/val/daisy/1.jpg", "flowers/val/roses/1.jpg"]);
    assert(rows.every(([, name]) => ["daisy", "roses"].includes(name)), predicted);
    await runs(dir, command("deno run --allow-read=. --allow-write=. export.ts"));

    const task = command("deno task export").map((word) => word.replace("../project", dir));
    await runs(root, ["run", "-P=files", "src/cli/main.ts", ...task.slice(1)]);
    assert((await Deno.stat(`${dir}/flowers.onnx`)).size > 100_000);

    const port = freePort();
    const server = deno(dir, command("deno serve").map((word) => word === "8000" ? `${port}` : word)).spawn();
    try {
      const url = `http://127.0.0.1:${port}`;
      await answers(url);
      const post = async (body: BodyInit) => {
        const response = await fetch(url, { method: "POST", body });
        return { status: response.status, text: await response.text() };
      };
      const bodies = await Promise.all(rows.map(([file]) => Deno.readFile(`${dir}/${file}`)));
      const all = await Promise.all(Array.from({ length: 32 }, (_, i) => post(bodies[i % 2])));
      for (const [i, { status, text }] of all.entries()) {
        const [best, ...others] = JSON.parse(text);
        const [, name, probability] = rows[i % 2];
        assertEquals([status, best.name, others.length], [200, name, 1], text);
        assert(Math.abs(best.probability - Number(probability)) < 2e-3, `${text}, not ${probability}`);
      }
      const wrong = await post("not a picture");
      assertEquals(wrong.status, 400);
      assertStringIncludes(wrong.text, "the picture is not a JPEG");
      const streamed = await post(new Blob([bodies[0]]).stream()); // without its length
      assertEquals([streamed.status, streamed.text], [411, "the request needs a Content-Length"]);
    } finally {
      server.kill();
      const late = setTimeout(() => server.kill("SIGKILL"), 30_000);
      const { signal } = await server.output();
      clearTimeout(late);
      assertEquals(signal, null); // it stopped in good order: idle threads do not keep it alive
    }

    // The example starts from the exported network, whose two classes give way to a new head.
    const tuned = await runs(dir, [
      ...["run", "--allow-read", "--allow-write=runs", `${root}examples/fine_tuning.ts`],
      ...["--weights", "flowers.safetensors", "--model", "resnet8", "--size", "24", "--epochs", "1"],
      ...["--batch", "3", "--device", "cpu"],
    ]);
    assertMatch(tuned, /^test error \d+\.\d % with the new head, \d+\.\d % after training$/m);
  }));

Deno.test("the tasks of the first hour, which run in localgrad's folder, name paths of the project", () => {
  const lines = guide.replaceAll(/ *\\\n */g, " ").split("\n");
  const paths = lines.flatMap((line) => [...line.matchAll(/deno task [^`]*/g)]).flatMap(([line]) =>
    [...line.matchAll(/--(?:run|out|data) (\S+)/g)].map(([, path]) => path)
  );
  assert(paths.length >= 5, paths.join());
  assertEquals(paths.filter((path) => !path.startsWith("../project/")), []);
});

/** A port that was just free. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Waits until a server answers. */
async function answers(url: string): Promise<void> {
  for (let tries = 0;; tries++) {
    const response = await fetch(url).catch(() => undefined);
    await response?.body?.cancel();
    if (response !== undefined) return;
    assert(tries < 600, `${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
