import { LocalgradError } from "../src/base/errors.ts";
import { type Flags, usage } from "../src/cli/flags/flags.ts";

/**
 * Runs a script of the tests, such as `deno task fuzz`: `--help` prints its flags, and a user's error is reported in
 * one line, with exit code 2.
 */
export async function script(
  name: string,
  summary: string,
  flags: Flags,
  run: (args: readonly string[]) => Promise<number | void>,
): Promise<void> {
  try {
    if (Deno.args.includes("--help") || Deno.args.includes("-h")) console.log(usage(name, summary, flags));
    else Deno.exitCode = await run(Deno.args) ?? 0;
  } catch (error) {
    if (!(error instanceof LocalgradError)) throw error;
    console.error(`error: ${error.message}`);
    Deno.exitCode = 2;
  }
}
