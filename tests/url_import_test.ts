import { assert, assertEquals } from "@std/assert";
import { lendPackages, root, serveRepository } from "./serve.ts";

/** The effects of a script in a fresh process that imports the library by URL. */
interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The permissions requested beyond the import, whether granted or not: each may prompt the user. */
  readonly asked: readonly string[];
  /** The repository's files that were fetched. */
  readonly fetched: readonly string[];
}

/**
 * Serves the repository and runs a script in an empty folder: no configuration, no lock file, an empty cache, no
 * permission except to import from there. `URL` in the script stands for the library's.
 */
async function runByUrl(script: string, more: { readonly reads?: string } = {}): Promise<Outcome> {
  await using server = serveRepository();
  const { host, fetched } = server;
  const cwd = await Deno.makeTempDir();
  try {
    if (more.reads !== undefined) await lendPackages(`${cwd}/cache`);
    const text = script.replaceAll("URL", `http://${host}/mod.ts`).replaceAll("ROOT", `http://${host}`);
    await Deno.writeTextFile(`${cwd}/script.ts`, text);
    const read = more.reads === undefined ? [] : [`--allow-read=${more.reads}`];
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", `--allow-import=${host}`, "--no-lock", "--no-prompt", ...read, "script.ts"],
      cwd,
      clearEnv: true,
      env: { DENO_DIR: `${cwd}/cache`, DENO_AUDIT_PERMISSIONS: `${cwd}/asked.jsonl`, NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const asked = (await Deno.readTextFile(`${cwd}/asked.jsonl`).catch(() => "")).split("\n").filter(Boolean)
      .map((line) => JSON.parse(line)).map(({ permission, value }) => `${permission} ${value}`)
      .filter((permission) => permission !== `import ${host}`);
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr), asked, fetched };
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
}

Deno.test("mod.ts imported by URL trains and asks for no permission", async () => {
  const { code, stdout, stderr, asked, fetched } = await runByUrl(`
    import { data, devices, local, models, optim } from "URL";
    await using device = await devices.open("cpu");
    using trainer = await local.trainer({
      device,
      model: models.resnet8({ classes: 10 }),
      modules: 3,
      method: local.man(local.dgl()),
      optimizer: optim.sgd({ momentum: 0.9 }),
      schedule: optim.constant(0.02),
      batch: 32,
    });
    const losses = [];
    await trainer.fit(data.shapes({ train: 32, test: 32 }), {
      epochs: 8,
      observers: [{ step: (record) => void losses.push(record.losses) }],
    });
    console.log(JSON.stringify(losses));
  `);
  assertEquals(code, 0, stderr);
  const losses: number[][] = JSON.parse(stdout);
  assertEquals(losses.map((step) => step.length), new Array(8).fill(3));
  const [first, last] = [losses[0], losses[7]];
  assert(last.every((loss, module) => loss < first[module]), `${first} → ${last}`);
  assertEquals(asked, []);
  assert(fetched.includes("mod.ts") && fetched.includes("src/backends/cpu/worker.js"), fetched.join());
  assert(!fetched.some((path) => path.includes("data/folder")), "a file that needs a package was fetched");
});

Deno.test("mod.ts merely imported by URL asks for no permission", async () => {
  const { code, stdout, stderr, asked } = await runByUrl(`
    import * as localgrad from "URL";
    console.log(Object.keys(localgrad).length > 20);
  `);
  assertEquals([code, stdout], [0, "true\n"], stderr);
  assertEquals(asked, []);
});

Deno.test("devices.open() of a library imported by URL asks for no permission", async () => {
  const { code, stdout, stderr, asked } = await runByUrl(`
    import { devices } from "URL";
    await using device = await devices.open();
    console.log(device.choice.length > 0);
  `);
  assertEquals([code, stdout], [0, "true\n"], stderr);
  assertEquals(asked, []);
});

Deno.test("the audit that these tests rely on records requests", async () => {
  const { asked } = await runByUrl(`try { Deno.env.get("HOME") } catch {}`);
  assertEquals(asked, ["env HOME"]);
});

Deno.test("the library imported by URL decodes a folder of images, with permission to read that folder only", async () => {
  const dir = await Deno.makeTempDir();
  for (const part of ["train", "val"]) {
    for (const [name, file] of [["a", "cmyk.jpg"], ["b", "palette.png"]]) {
      await Deno.mkdir(`${dir}/${part}/${name}`, { recursive: true });
      await Deno.copyFile(`${root}tests/fixtures/datasets/images/${file}`, `${dir}/${part}/${name}/${file}`);
    }
  }
  const { code, stdout, stderr, asked, fetched } = await runByUrl(
    `
    import { imageFolder } from "ROOT/src/data/folder/folder.ts";
    const set = await imageFolder({ path: ${JSON.stringify(dir)}, size: 16, threads: 2 });
    await using reader = set.train.open();
    console.log(set.classes.join(), (await reader.read(Uint32Array.of(1, 0, 1))).length);
  `,
    { reads: dir },
  );
  await Deno.remove(dir, { recursive: true });
  assertEquals([code, stdout], [0, "a,b 2304\n"], stderr);
  assertEquals(asked.filter((permission) => !permission.startsWith(`read ${dir}`)), []);
  assert(fetched.includes("src/data/folder/worker.js") && !fetched.includes("mod.ts"), fetched.join());
});

Deno.test("a script that reads a folder of images runs from deno's cache, under the lock file that `deno cache` wrote", async () => {
  const decoder = new TextDecoder();
  await using server = serveRepository();
  for (const base of [`http://${server.host}/`, new URL("..", import.meta.url).href]) {
    const cwd = await Deno.makeTempDir();
    try {
      await lendPackages(`${cwd}/cache`);
      for (const place of ["train/a", "train/b", "val/a"]) {
        await Deno.mkdir(`${cwd}/set/${place}`, { recursive: true });
        await Deno.copyFile(`${root}tests/fixtures/datasets/images/lossy.webp`, `${cwd}/set/${place}/1.webp`);
      }
      await Deno.writeTextFile(`${cwd}/deno.json`, `{ "lock": true }`);
      await Deno.writeTextFile(
        `${cwd}/script.ts`,
        `
        import { imageFolder } from "${base}src/data/folder/folder.ts";
        const set = await imageFolder({ path: ${JSON.stringify(`${cwd}/set`)}, size: 16, threads: 1 });
        await using reader = set.train.open();
        console.log(set.classes.join(), (await reader.read(Uint32Array.of(1))).length);
      `,
      );
      const env = { DENO_DIR: `${cwd}/cache`, NO_COLOR: "1" };
      const deno = async (...args: string[]) => {
        const command = new Deno.Command(Deno.execPath(), { args, cwd, clearEnv: true, env, stdin: "null" });
        const { code, stdout, stderr } = await command.output();
        return [code, decoder.decode(stdout), decoder.decode(stderr)];
      };
      const imports = `--allow-import=${server.host}`;
      assertEquals(await deno("cache", "-q", imports, "script.ts"), [0, "", ""]);
      const lock = JSON.parse(await Deno.readTextFile(`${cwd}/deno.lock`));
      assertEquals(Object.keys(lock.npm), ["@imagemagick/magick-wasm@0.0.43"]);
      const run = ["run", "-q", "--no-prompt", "--frozen", "--cached-only", imports];
      assertEquals(await deno(...run, `--allow-read=${cwd}/set`, "script.ts"), [0, "a,b 768\n", ""]);
    } finally {
      await Deno.remove(cwd, { recursive: true });
    }
  }
});

Deno.test("mod.ts imports no package, and the folder of images only the decoder", async () => {
  for (
    const [file, packages] of [["mod.ts", []], ["src/data/folder/folder.ts", ["@imagemagick/magick-wasm"]]]
  ) {
    const args = ["info", "--json", "--no-lock", "--no-config", `${root}${file}`];
    const { stdout } = await new Deno.Command(Deno.execPath(), { args, stderr: "null" }).output();
    const { npmPackages = {} } = JSON.parse(new TextDecoder().decode(stdout));
    assertEquals(Object.values<{ name: string }>(npmPackages).map(({ name }) => name), packages);
  }
});
