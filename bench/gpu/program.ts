/** Runs the programs of a stage. */
/** What became of a program. */
export interface Outcome {
  /** Its results: every line of its output that is JSON, in order. */
  readonly lines: readonly { readonly [name: string]: unknown }[];
  readonly seconds: number;
  /** What went wrong, with the end of its error output. */
  readonly failed?: string;
}

const here = (path: string) => new URL(path, import.meta.url).pathname;
const PERMISSIONS = ["read", "env", "ffi", "write", "sys", "net=localhost", "run=git"].map((name) =>
  `--allow-${name}`
);
/** The most characters of error output that a result keeps. */
const TAIL = 3000;

/**
 * Runs a script of this folder, by Deno or Python, for at most some seconds. Each line of JSON is passed on as soon as
 * it is printed; other output goes to standard error.
 */
export async function runScript(
  script: string,
  args: readonly string[],
  { seconds, env, onLine }: {
    readonly seconds: number;
    readonly env: Readonly<Record<string, string>>;
    readonly onLine?: (line: Outcome["lines"][number]) => Promise<void>;
  },
): Promise<Outcome> {
  const start = performance.now();
  const [program, first] = script.endsWith(".py")
    ? ["python3", []]
    : [Deno.execPath(), ["run", "--quiet", "--no-check", ...PERMISSIONS]];
  const lines: Outcome["lines"][number][] = [];
  const elapsed = () => (performance.now() - start) / 1000;
  try {
    const child = new Deno.Command(program, {
      args: [...first, here(script), ...args],
      env: { ...env },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, 1000 * seconds);
    const errors = new Response(child.stderr).text();
    for await (const text of linesOf(child.stdout)) {
      const line = parsed(text);
      if (line === undefined) {
        console.error(text);
        continue;
      }
      lines.push(line);
      await onLine?.(line);
    }
    const { success, code, signal } = await child.status;
    clearTimeout(timer);
    const tail = plain(await errors);
    if (success) return { lines, seconds: elapsed() };
    const how = late
      ? `not done in ${Math.round(seconds)} s`
      : signal === null
      ? `exit ${code}`
      : `killed by ${signal}`;
    return { lines, seconds: elapsed(), failed: [how, tail].filter(Boolean).join(": ") };
  } catch (error) {
    return { lines, seconds: elapsed(), failed: error instanceof Error ? error.message : String(error) };
  }
}

/** The lines of a stream, each as soon as it is whole. */
async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const [first = "", ...more] = chunk.split("\n");
    rest += first;
    for (const next of more) {
      yield rest;
      rest = next;
    }
  }
  if (rest !== "") yield rest;
}

function parsed(text: string): Outcome["lines"][number] | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The end of a program's error output without colours and noise. */
function plain(text: string): string {
  // deno-lint-ignore no-control-regex -- colours
  const lines = text.replace(/\x1b\[[0-9;]*m/g, "").split("\n").filter((line) =>
    !line.includes("XDG_RUNTIME_DIR")
  );
  return lines.join("\n").trim().slice(-TAIL);
}
