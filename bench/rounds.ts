/** Takes the systems of a benchmark in rounds, so that slow spells of the machine meet all of them. */

import type { Entry } from "./benchmarks.ts";
import type { Timing } from "./peers/common.ts";

/** What came of a system: its turns, or why there are none. */
export type Outcome = { readonly turns: readonly Timing[] } | { readonly missing: string };

/** Milliseconds before each turn, in which the threads of the last system fall asleep. */
const PAUSE = 200;

/** Rounds A B A B …: each system takes its part of its steps in a process that lives through all rounds. */
export async function inRounds(entries: readonly Entry[], rounds: number): Promise<Outcome[]> {
  const systems = entries.map((entry) => new System(entry));
  try {
    for (let round = 0; round < rounds; round++) {
      for (const system of systems) {
        const { warmup, steps } = system.entry;
        const part = Math.floor(steps * (round + 1) / rounds) - Math.floor(steps * round / rounds);
        // With fewer steps than rounds, some rounds pass without a turn.
        if (part === 0) continue;
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
        await system.turn(system.turns === 0 ? warmup : Math.min(warmup, 1), part);
      }
    }
    return systems.map(({ outcome }) => outcome);
  } finally {
    await Promise.all(systems.map((system) => system.end()));
  }
}

/** A system's process. */
class System {
  readonly entry: Entry;
  readonly #turns: Timing[] = [];
  #process: Process | undefined;
  #missing: string | undefined;

  constructor(entry: Entry) {
    this.entry = entry;
  }

  /** Turns taken. */
  get turns(): number {
    return this.#turns.length;
  }

  get outcome(): Outcome {
    return this.#missing === undefined ? { turns: this.#turns } : { missing: this.#missing };
  }

  /** Takes one turn. After a failure there are no more. */
  async turn(warmup: number, steps: number): Promise<void> {
    if (this.#missing !== undefined) return;
    try {
      this.#process ??= new Process(this.entry.command);
      const line = await this.#process.ask(`${warmup} ${steps}\n`);
      if (line === undefined) this.#missing = await this.#process.reason();
      else this.#turns.push(JSON.parse(line));
    } catch (error) {
      this.#missing = error instanceof Error ? error.message : `${error}`;
    }
  }

  async end(): Promise<void> {
    await this.#process?.end();
  }
}

/** A program that answers a line with a line of JSON. */
class Process {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #errors: Promise<string>;
  #text = "";

  constructor([program, ...args]: Entry["command"]) {
    this.#child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "piped" })
      .spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#output = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#errors = new Response(this.#child.stderr).text();
  }

  /** Its next line of JSON; undefined if it ends without one. */
  async ask(line: string): Promise<string | undefined> {
    await this.#input.write(new TextEncoder().encode(line)).catch(() => {}); // it has ended: so has its output
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const answer = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        if (answer.startsWith("{")) return answer;
      } else {
        const { value, done } = await this.#output.read();
        if (done) return undefined;
        this.#text += value;
      }
    }
  }

  /** The line of its errors that says most. */
  async reason(): Promise<string> {
    // deno-lint-ignore no-control-regex -- colours
    const lines = (await this.#errors).replace(/\x1b\[[0-9;]*m/g, "").split("\n");
    const telling = lines.filter((line) =>
      /(^error|Error): /.test(line) && !line.includes("XDG_RUNTIME_DIR")
    );
    return telling.at(-1)?.trim() ?? "no output";
  }

  /** Ends it by the end of its input. */
  async end(): Promise<void> {
    await this.#input.close().catch(() => {}); // it has ended already
    await this.#output.cancel();
    await Promise.all([this.#child.status, this.#errors]);
  }
}
