/**
 * The library in users' projects with their own compiler options: their `deno check` and `deno test` must not fail in
 * the library.
 */

import { assertEquals } from "@std/assert";
import library from "../deno.json" with { type: "json" };
import { lendPackages, root, serveRepository } from "./serve.ts";

const NAME = "@localgrad/localgrad";
const subpaths = Object.entries(library.exports).map(([name, file]) => ({
  name: name.slice(1),
  file: file.slice(2),
}));

/** Independent options: together they find everything that each finds alone. */
const strict = { noUnusedLocals: true, noUnusedParameters: true, noPropertyAccessFromIndexSignature: true };

/** A project that uses the library. */
interface Project {
  /** The way it imports the library. */
  readonly what: string;
  /** The specifier that imports file `file`, exported as `name`. */
  readonly specifier: (name: string, file: string) => string;
  /** Its deno.json, if it has one. */
  readonly configuration?: Record<string, unknown>;
  /** The folder for a copy of the library; default: next to the project. */
  readonly copy?: string;
  readonly args?: readonly string[];
  /** Only checks types, without running the test; default false. */
  readonly checkOnly?: boolean;
  /** An entry point that it does not import; default: none. */
  readonly without?: string;
  readonly env?: Record<string, string>;
}

/** Makes a project that imports all entry points of the library, and runs its `deno check` and `deno test`. */
async function checkProject(
  { what, specifier, configuration, copy = "../localgrad", args = [], checkOnly = false, without, env = {} }:
    Project,
) {
  const base = await Deno.makeTempDir();
  const cwd = `${base}/project`;
  try {
    await Deno.mkdir(cwd);
    await copyLibrary(`${cwd}/${copy}`);
    if (configuration !== undefined) {
      await Deno.writeTextFile(`${cwd}/deno.json`, JSON.stringify(configuration));
    }
    const imports = subpaths.filter(({ name }) => name !== without)
      .map(({ name, file }) => `import ${JSON.stringify(specifier(name, file))};`);
    await Deno.writeTextFile(
      `${cwd}/project_test.ts`,
      `
      ${imports.join("\n")}
      import { devices, local, models, optim } from ${JSON.stringify(specifier("", "mod.ts"))};
      Deno.test("a module of a network is trained", async () => {
        await using device = await devices.open("cpu");
        using trainer = await local.trainer({
          device,
          model: models.resnet8({ classes: 2, size: 8 }),
          modules: 2,
          method: local.dgl(),
          optimizer: optim.sgd(),
          schedule: optim.constant(0.1),
          batch: 2,
        });
        await trainer.step({ x: device.zeros([2, 8, 8, 3]), labels: Int32Array.of(1, 0) });
      });
    `,
    );
    for (const command of [["check"], ...checkOnly ? [] : [["test", "--no-prompt"]]]) {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [...command, ...args],
        cwd,
        env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
        stdin: "null",
      }).output();
      const [said, complained] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
      assertEquals(code, 0, `${what}: deno ${command[0]}:\n${said}\n${complained}`);
    }
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}

/** Copies the library without its tests. */
async function copyLibrary(to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for (const file of ["deno.json", "mod.ts"]) await Deno.copyFile(root + file, `${to}/${file}`);
  for (const folder of ["src", "kernels", "ffi"]) await copyFolder(root + folder, `${to}/${folder}`);
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyFolder(`${from}/${name}`, `${to}/${name}`);
    else if (!name.endsWith("_test.ts")) await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

const byName = (name: string) => NAME + name;

Deno.test("projects that have the library by path, by name or by URL pass their own check and tests", async () => {
  await using server = serveRepository();
  const cache = await Deno.makeTempDir();
  await lendPackages(`${cache}/deno`);
  const projects: Project[] = [
    { what: "by path, without a configuration", specifier: (_, file) => `../localgrad/${file}` },
    {
      what: "by an import map",
      specifier: byName,
      configuration: {
        imports: Object.fromEntries(subpaths.map(({ name, file }) => [NAME + name, `../localgrad/${file}`])),
        compilerOptions: strict,
      },
    },
    {
      what: "by path, without checks of null",
      specifier: (_, file) => `../localgrad/${file}`,
      configuration: { compilerOptions: { strictNullChecks: false } },
      checkOnly: true,
    },
    {
      what: "by a link, with the browser's types",
      specifier: byName,
      configuration: {
        links: ["../localgrad"],
        imports: { [NAME]: `jsr:${NAME}@${library.version}` },
        compilerOptions: { lib: ["dom", "dom.iterable", "dom.asynciterable", "deno.ns"] },
      },
      without: "/lint", // the types of a plugin are in `deno.unstable`, and only `deno lint` loads it
    },
    {
      what: "as a member of a workspace",
      copy: "localgrad",
      specifier: byName,
      configuration: {
        workspace: ["localgrad"],
        compilerOptions: { ...strict, exactOptionalPropertyTypes: true },
      },
    },
    {
      what: "by URL",
      specifier: (_, file) => `http://${server.host}/${file}`,
      configuration: {},
      args: [`--allow-import=${server.host}`],
      env: { DENO_DIR: `${cache}/deno` },
    },
  ];
  const lane = async () => {
    for (let project; (project = projects.shift()) !== undefined;) await checkProject(project);
  };
  await Promise.all([lane(), lane()]); // a check keeps one core busy
  await Deno.remove(cache, { recursive: true });
});
