/** README and the other documentation: examples prove what they claim, and the commands work. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { compareFlags } from "../src/cli/compare.ts";
import { demoFlags } from "../src/cli/demo.ts";
import { doctorFlags } from "../src/cli/doctor.ts";
import { evaluateFlags } from "../src/cli/evaluate.ts";
import { exportFlags } from "../src/cli/export.ts";
import { type Flags, parseFlags } from "../src/cli/flags/flags.ts";
import { memoryFlags } from "../src/cli/memory/memory.ts";
import { predictFlags } from "../src/cli/predict.ts";
import { probeFlags } from "../src/cli/probe.ts";
import { reportFlags } from "../src/cli/report.ts";
import { reproduceFlags } from "../src/cli/reproduce/reproduce.ts";
import { trainFlags } from "../src/cli/train.ts";
import { root } from "./serve.ts";

interface Example {
  /** The file it is in. */
  readonly file: string;
  /** The text after the fence, such as `ts` or `ts ignore`. */
  readonly kind: string;
  readonly code: string;
}

/** The fenced blocks of a file: of Markdown, or within the comments of a module. */
function examplesIn(file: string): Example[] {
  const examples: Example[] = [];
  let open: { readonly kind: string; readonly lines: string[] } | undefined;
  for (const line of Deno.readTextFileSync(root + file).split("\n")) {
    const text = file.endsWith(".md") ? line : line.match(/^ *\* ?(.*)$/)?.[1];
    if (text === undefined) open = undefined;
    else if (!text.startsWith("```")) open?.lines.push(text);
    else if (open === undefined) open = { kind: text.slice(3), lines: [] };
    else {
      examples.push({ file, kind: open.kind, code: open.lines.join("\n") });
      open = undefined;
    }
  }
  return examples;
}

function* filesIn(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(root + folder)) {
    if (isDirectory) yield* filesIn(`${folder}/${name}`);
    else if (/\.(md|ts)$/.test(name)) yield `${folder}/${name}`;
  }
}

/** Examples that do not run as tests, with the reason. */
const notRun: { readonly [file: string]: string } = {
  "README.md": "is fetched from a server: see the test below",
  "docs/first-hour.md": "is a project, step by step; tests/first_hour_test.ts runs it",
  "docs/data.md": "reads a folder of images; tests/datasets_test.ts has one",
  "src/data/cifar10.ts": "reads the data set's files; src/data/cifar10_test.ts writes some",
  "src/data/cifar100.ts": "reads the data set's files; src/data/cifar100_test.ts writes some",
  "src/data/mnist.ts": "reads the data set's files; src/data/mnist_test.ts has some",
  "src/data/parquet/parquet.ts": "reads Parquet tables; src/data/parquet/parquet_test.ts has some",
  "src/data/stl10.ts": "reads the data set's files; src/data/stl10_test.ts writes some",
  "src/data/svhn.ts": "reads the data set's files; src/data/svhn_test.ts writes some",
  "src/data/folder/pictures.ts": "predicts a picture; tests/predict_cli_test.ts decodes some",
  "src/data/folder/segmentation.ts": "reads label maps; segmentation_test.ts beside it writes some",
  "docs/segmentation.md": "reads label maps; src/data/folder/segmentation_test.ts writes some",
  "src/data/folder/folder.ts": "reads a folder of images; src/data/folder/folder_test.ts writes one",
};

Deno.test("every example has an assertion, and those that are not run are listed with the reason", () => {
  const files = ["README.md", "mod.ts", ...filesIn("docs"), ...filesIn("src"), ...filesIn("ffi")];
  const examples = files.flatMap(examplesIn).filter(({ kind }) =>
    /^(ts|typescript|js|javascript)\b/.test(kind)
  );
  assert(examples.length > 50, `${examples.length} examples found`);
  for (const { file, kind, code } of examples) {
    if (kind.includes("ignore")) {
      assert(file in notRun, `an example in ${file} is not run, without a listed reason`);
    } else assertMatch(code, /\bassert\w*\(/, `an example in ${file} asserts nothing`);
  }
  const ignored = examples.filter(({ kind }) => kind.includes("ignore")).map(({ file }) => file);
  assertEquals([...new Set(ignored)].sort(), Object.keys(notRun).sort());
});

Deno.test("every file that the documentation names exists", () => {
  const files = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ...filesIn("docs")];
  const named = files.filter((file) => file.endsWith(".md")).flatMap((file) =>
    [
      ...Deno.readTextFileSync(root + file).matchAll(
        /`((?:src|ffi|kernels|tests|bench|examples)\/[\w./-]+)`/g,
      ),
    ]
      .map(([, path]) => ({ file, path }))
  ).filter(({ path }) => !path.includes("NAME"));
  assert(named.length > 100, `${named.length} files named`);
  const missing = named.filter(({ path }) => {
    try {
      Deno.statSync(root + path);
      return false;
    } catch {
      return true;
    }
  });
  assertEquals(missing, []);
});

const commands: { readonly [name: string]: Flags } = {
  compare: compareFlags,
  demo: demoFlags,
  doctor: doctorFlags,
  eval: evaluateFlags,
  export: exportFlags,
  memory: memoryFlags,
  predict: predictFlags,
  probe: probeFlags,
  report: reportFlags,
  reproduce: reproduceFlags,
  train: trainFlags,
};

Deno.test("the commands that the documentation gives have the flags they are given", () => {
  const files = ["README.md", ...filesIn("docs")].filter((file) => file.endsWith(".md"));
  const given = files.flatMap((file) => {
    const lines = Deno.readTextFileSync(root + file).replace(/ *\\\n */g, " ").split("\n");
    return lines.flatMap((line) => [...line.matchAll(/deno task (\w+)((?: [^#`]*)?)/g)]);
  }).filter(([, name]) => name in commands);
  assert(given.length > 30, `${given.length} commands found`);
  for (const [, name, words] of given) {
    const args = [...words.replace(/\)?$/, "").matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, word]) =>
      quoted ?? word
    );
    if (args[0]?.startsWith("--")) {
      parseFlags(
        name,
        commands[name],
        args,
        ["compare", "predict", "report"].includes(name) ? [] : undefined,
      );
    }
  }
});

/** A port that was just free. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function answers(url: string): Promise<void> {
  for (let tries = 0;; tries++) {
    const response = await fetch(url).catch(() => undefined);
    await response?.body?.cancel();
    if (response?.ok) return;
    assert(tries < 200, `${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

Deno.test("README's script runs with README's commands, which name the host and grant no permission", async () => {
  const examples = examplesIn("README.md");
  const commands = examples.find(({ code }) => code.includes("deno serve"))!.code;
  const script =
    examples.find(({ kind, code }) => kind === "ts ignore" && code.includes("trainer.fit"))!.code;
  const [serve, run] = commands.split("\n").map((line) => line.replace(/ +#.*| *&$/, ""));
  const port = String(freePort());
  const inFolder = async (command: string, cwd: string) => {
    const { code, stderr } = await new Deno.Command("bash", {
      args: ["-c", command.replaceAll("8000", port)],
      cwd,
      env: {
        DENO_DIR: `${cwd}/cache`,
        XDG_RUNTIME_DIR: cwd,
        DENO_AUDIT_PERMISSIONS: `${cwd}/asked.jsonl`,
        NO_COLOR: "1",
      },
      stdin: "null",
    }).output();
    return { code, stderr: new TextDecoder().decode(stderr) };
  };
  const server = new Deno.Command("bash", {
    args: ["-c", `exec ${serve.replaceAll("8000", port)}`],
    cwd: root,
    stdout: "null",
    stderr: "null",
  }).spawn();
  const cwd = await Deno.makeTempDir();
  try {
    await answers(`http://localhost:${port}/mod.ts`);
    const short = script.replace("https://example.org/localgrad/", `http://localhost:${port}/`)
      .replace("data.shapes()", "data.shapes({ train: 128, test: 32 })").replace(
        "{ epochs: 10 });",
        "{ epochs: 1 });",
      );
    await Deno.writeTextFile(`${cwd}/script.ts`, short);
    const done = await inFolder(run, cwd);
    assertEquals(done.code, 0, done.stderr);
    assertMatch(done.stderr, /epoch 1\/1 .* test error/);
    const asked = (await Deno.readTextFile(`${cwd}/asked.jsonl`)).trim().split("\n").map((line) =>
      JSON.parse(line)
    );
    assertEquals([...new Set(asked.map(({ permission, value }) => `${permission} ${value}`))], [
      `import localhost:${port}`,
    ]);
    const without = await inFolder(run.replace(/--allow-import=\S+/, ""), cwd);
    assertStringIncludes(without.stderr, "--allow-import");
  } finally {
    server.kill();
    await server.status;
    await Deno.remove(cwd, { recursive: true });
  }
});
