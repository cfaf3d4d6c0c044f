/** A running `deno serve`. */
export interface Server extends AsyncDisposable {
  readonly url: string;
}

/** Runs examples in a folder of their own, with the permissions that their first comments name. */
export class Runner {
  readonly folder: string;
  /** The folder of the repository. */
  readonly root: string;

  private constructor(root: string, folder: string) {
    this.root = root;
    this.folder = folder;
  }

  /** Makes the folder. */
  static async in(root: string, folder: string): Promise<Runner> {
    await Deno.mkdir(folder, { recursive: true });
    return new Runner(root, folder);
  }

  /** Runs an example, and returns what it prints. */
  readonly run = async (name: string, args: readonly string[]): Promise<string> => {
    const path = `${this.root}/examples/${name}`;
    const [, permissions = ""] = [
      ...Deno.readTextFileSync(path).matchAll(/deno run ((?:--allow-\S+ )*)examples/g),
    ].at(-1) ?? [];
    return await this.#output([
      "run",
      "-q",
      "--no-prompt",
      ...permissions.split(" ").filter(Boolean),
      path,
      ...args,
    ]);
  };

  /** Runs a script, and returns what it prints. */
  readonly script = async (source: string, args: readonly string[]): Promise<string> => {
    const path = `${this.folder}/script.ts`;
    await Deno.writeTextFile(path, source);
    return await this.#output([
      "run",
      "-q",
      "--no-prompt",
      "--no-config",
      "--reload=http://127.0.0.1",
      ...args,
      path,
    ]);
  };

  /** Exports the network of a run by the command line. */
  readonly exported = async (run: string, file: string): Promise<void> => {
    await Deno.remove(`${this.folder}/${file}`).catch(() => {}); // it may not be there
    const command = ["run", "-q", "--allow-read", "--allow-write", `${this.root}/src/cli/main.ts`, "export"];
    await this.#output([...command, "--run", run, "--out", file]);
  };

  /** Serves an example until the result is disposed of. */
  readonly serve = async (name: string): Promise<Server> => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    const reads = name === "serve.ts" ? this.root : `${this.folder}/flowers.safetensors`;
    const process = new Deno.Command("deno", {
      args: [
        "serve",
        "-q",
        "--no-prompt",
        "--host",
        "127.0.0.1",
        "--port",
        String(port),
        `--allow-read=${reads}`,
      ]
        .concat(`${this.root}/examples/${name}`),
      cwd: this.folder,
      stdout: "null",
    }).spawn();
    const url = `http://127.0.0.1:${port}`;
    for (let tries = 0; tries < 300; tries++) {
      const response = await fetch(url).catch((): undefined => undefined);
      await response?.body?.cancel();
      if (response !== undefined) {
        return {
          url,
          async [Symbol.asyncDispose]() {
            process.kill();
            await process.status;
          },
        };
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    process.kill();
    throw new Error(`${name} does not answer at ${url}`);
  };

  async #output(args: string[]): Promise<string> {
    const { success, stdout } = await new Deno.Command("deno", {
      args,
      cwd: this.folder,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stderr: "inherit",
    }).output();
    if (!success) throw new Error(`deno ${args.join(" ")} failed`);
    return new TextDecoder().decode(stdout);
  }
}
