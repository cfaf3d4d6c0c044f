/** The command line as a process, for tests. */

import { assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path";

const root = fromFileUrl(new URL("..", import.meta.url));

/** The result of a command. */
export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the command line as `deno task` does, in folder `cwd`; `shell` is a script that runs its arguments. */
export function start(
  cwd: string,
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
  shell?: string,
): Deno.ChildProcess {
  const own = {
    demo: ["-P=demo"],
    memory: [],
    doctor: ["-P=doctor"],
    eval: ["-P=eval"],
    predict: ["-P=predict"],
    export: ["-P=files"],
    compare: ["-P=files"],
    report: ["-P=files"],
  };
  const permissions = own[command as keyof typeof own] ?? ["-P=train"];
  const [program, ...before] = shell === undefined
    ? [Deno.execPath()]
    : ["sh", "-c", shell, "sh", Deno.execPath()];
  return new Deno.Command(program, {
    args: [
      ...before,
      "run",
      "-q",
      "--config",
      `${root}deno.json`,
      ...permissions,
      `${root}src/cli/main.ts`,
      command,
      ...args,
    ],
    cwd,
    env: { NO_COLOR: "1", LOCALGRAD_DEVICE: "cpu", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Waits for a command to end. */
export async function finish(child: Deno.ChildProcess): Promise<Result> {
  const { code, stdout, stderr } = await child.output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Runs a command in folder `cwd`. */
export const cli = (cwd: string, command: string, ...args: string[]) => finish(start(cwd, command, args));

/** Every file below a folder, with its bytes. */
export function contents(dir: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const { name, isDirectory } of Deno.readDirSync(dir)) {
    if (!isDirectory) files.set(name, Deno.readFileSync(`${dir}/${name}`));
    else for (const [inner, bytes] of contents(`${dir}/${name}`)) files.set(`${name}/${inner}`, bytes);
  }
  return files;
}

/** Expects one line on standard error, exit code 2, and no change of any file. */
export async function refused(
  dir: string,
  message: RegExp,
  command: string,
  ...args: string[]
): Promise<void> {
  const before = contents(dir);
  const { code, stdout, stderr } = await cli(dir, command, ...args);
  const where = `${command} ${args.join(" ")}: ${stderr}`;
  assertEquals([code, stdout, stderr.trimEnd().split("\n").length], [2, "", 1], where);
  assertMatch(stderr, /^error: /, where);
  assertMatch(stderr, message, where);
  assertEquals(contents(dir), before, where);
}
