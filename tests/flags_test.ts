/** Every flag of every command: misspelt, given twice, without a value, and with numbers that cannot be. */

import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { LocalgradError } from "../src/base/errors.ts";
import { commands } from "../src/cli/commands.ts";
import { parseFlags } from "../src/cli/flags/flags.ts";

/** Misspells a flag: swaps its last two letters, or doubles the last if they are the same. */
function misspelt(flag: string): string {
  const [a, b] = flag.slice(-2);
  return a === b ? `${flag}${b}` : `${flag.slice(0, -2)}${b}${a}`;
}

/** Arguments of commands that need some before they read their other flags. */
const NEEDED: { readonly [command: string]: readonly string[] } = {
  eval: ["--weights", "none.safetensors", "--model", "resnet8"],
  predict: ["--run", "none", "none.png"],
  export: ["--run", "none", "--out", "none.onnx"],
  probe: ["--run", "none"],
  reproduce: ["--table", "evidence", "--run", "none"],
  train: ["--run", "none"],
};

/** Flags that others are needed for. */
const WITH: { readonly [flag: string]: readonly string[] } = {
  "image-size": ["--dataset", "folder"],
  "min-delta": ["--patience", "3"],
};

/** True for the flag of a number, by its placeholder in the help. */
const isNumber = (value: string) => /^(N|K|X|SHARE|RATE|NORM|W|DECAY)\b/.test(value);

Deno.test("flags are refused if misspelt, given twice, or without a value", () => {
  let count = 0;
  for (const [name, { flags, operands }] of Object.entries(commands)) {
    const refusal = (args: readonly string[]) =>
      assertThrows(
        () => parseFlags(name, flags, args, operands === undefined ? undefined : []),
        LocalgradError,
      ).message;
    for (const [flag, { value }] of Object.entries(flags)) {
      const wrong = misspelt(flag);
      const given = value === undefined ? [] : ["x"];
      assertMatch(refusal([`--${wrong}`, ...given]), new RegExp(`has no flag --${wrong}; did you mean --`));
      if (value !== undefined) {
        assertEquals(
          refusal([`--${flag}`, "x", `--${flag}=y`]),
          `--${flag} is given 2 times; give it once`,
        );
        assertEquals(refusal([`--${flag}`]), `--${flag} needs a value: --${flag} ${value}`);
        assertMatch(refusal([`--${flag}`, "-3"]), /takes a negative number|no flag -3/);
      } else assertEquals(refusal([`--${flag}=false`]), `--${flag} takes no value; leave "=…" out`);
      count++;
    }
  }
  assert(count > 100, `${count}`);
});

Deno.test("numbers that cannot be are refused by the name of their flag, before anything is done", async () => {
  let count = 0;
  for (const [name, { flags, run }] of Object.entries(commands)) {
    for (const [flag, { value }] of Object.entries(flags)) {
      if (value === undefined || !isNumber(value)) continue;
      if (name === "train:mpi" && flag !== "processes") continue; // those of train, which it starts
      const others = (NEEDED[name] ?? []).filter((_, i, all) =>
        all[i] !== `--${flag}` && all[i - 1] !== `--${flag}`
      );
      for (const wrong of ["-1", "nan", "1e999", "9".repeat(400)]) {
        const where = `${name} --${flag}=${wrong}`;
        const error = await assertRejects(
          async () => await run([...others, ...(WITH[flag] ?? []), `--${flag}=${wrong}`]),
          LocalgradError,
          undefined,
          where,
        );
        assert(error.message.startsWith(`--${flag} must be `), `${where}: ${error.message}`);
        count++;
      }
    }
  }
  assert(count > 100, `${count}`);
});
