import { Memo } from "./memo.ts";

/** The values of a template's `$names`. */
export type Constants = Readonly<Record<string, number | boolean | string>>;

/**
 * Fills in a `.wgsl` template: `$NAME` becomes its value, and three line directives choose and repeat lines.
 *
 * ```text
 * $for i LIMIT … $end            the lines, once for each i = 0, 1 … LIMIT−1, with $i replaced
 * $if NAME … $else … $end        the first part if NAME is true or not 0; `$if !NAME` the second
 * ```
 *
 * WGSL has neither macros nor forced unrolling, and register blocking needs every index to be a constant.
 */
export function specialise(text: string, constants: Constants): string {
  const values = Object.entries(constants).map(([name, value]) => `${name}=${value}`);
  return specialised.of(`${values.join()}\n${text}`, () => {
    const out: string[] = [];
    expand(text.split("\n"), 0, constants, out);
    return out.join("\n");
  });
}

const specialised = new Memo<string>();

/** Expands from line `at` to the matching `$end` (or `$else`), and returns the index of that line. */
function expand(lines: readonly string[], at: number, constants: Constants, out: string[]): number {
  while (at < lines.length) {
    const words = lines[at].trim().split(/\s+/);
    switch (words[0]) {
      case "$end":
      case "$else":
        return at;
      case "$for": {
        const limit = Number(lookUp(words[2], constants));
        let end = at;
        // A limit of 0 still has to find the end.
        for (let i = 0; i < Math.max(1, limit); i++) {
          end = expand(lines, at + 1, { ...constants, [words[1]]: i }, i < limit ? out : []);
        }
        at = end + 1;
        break;
      }
      case "$if": {
        const negated = words[1].startsWith("!");
        const holds = Boolean(lookUp(words[1].replace("!", ""), constants)) !== negated;
        let end = expand(lines, at + 1, constants, holds ? out : []);
        if (lines[end].trim() === "$else") end = expand(lines, end + 1, constants, holds ? [] : out);
        at = end + 1;
        break;
      }
      default:
        out.push(lines[at].replace(/\$\{?(\w+)\}?/g, (_, name) => String(lookUp(name, constants))));
        at++;
    }
  }
  return at;
}

function lookUp(name: string, constants: Constants): number | boolean | string {
  if (/^\d+$/.test(name)) return Number(name);
  if (!(name in constants)) throw new Error(`kernel template: $${name} has no value`);
  return constants[name];
}
