import { at } from "../../base/at.ts";
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

/** Expands from line `start` to the matching `$end` (or `$else`), and returns the index of that line. */
function expand(lines: readonly string[], start: number, constants: Constants, out: string[]): number {
  let next = start;
  while (next < lines.length) {
    const line = at(lines, next);
    const [directive, name = "", limit = ""] = line.trim().split(/\s+/);
    switch (directive) {
      case "$end":
      case "$else":
        return next;
      case "$for": {
        const count = Number(lookUp(limit, constants));
        let end = next;
        // A loop of no iterations still has to find its end.
        for (let i = 0; i < Math.max(1, count); i++) {
          end = expand(lines, next + 1, { ...constants, [name]: i }, i < count ? out : []);
        }
        next = end + 1;
        break;
      }
      case "$if": {
        const negated = name.startsWith("!");
        const holds = Boolean(lookUp(name.replace("!", ""), constants)) !== negated;
        let end = expand(lines, next + 1, constants, holds ? out : []);
        if (at(lines, end).trim() === "$else") end = expand(lines, end + 1, constants, holds ? [] : out);
        next = end + 1;
        break;
      }
      default:
        out.push(line.replace(/\$\{?(\w+)\}?/g, (_, name) => String(lookUp(name, constants))));
        next++;
    }
  }
  return next;
}

function lookUp(name: string, constants: Constants): number | boolean | string {
  if (/^\d+$/.test(name)) return Number(name);
  const value = constants[name];
  if (value === undefined) throw new Error(`kernel template: $${name} has no value`);
  return value;
}
