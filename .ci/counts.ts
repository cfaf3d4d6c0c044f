/**
 * Counts what CONTRIBUTING.md asks to keep low, in library code without its tests: type assertions (`as T`, other than
 * `as const`) and non-null `!` by layer, files over 300 lines, and docstrings that begin with a question word. Run by
 * `deno task counts`.
 */

import ts from "npm:typescript@5.9.3";
import { layerOf, LAYERS, modulesUnder } from "./layers.ts";

interface Count {
  /** `value as T`. */
  assertions: number;
  /** `value!`. */
  nonNull: number;
  /** Lines of code, comments and all. */
  lines: number;
  docstrings: number;
  /** Docstrings that begin with What, How, Whether, Where or Which. */
  questions: number;
}

const counts = new Map(LAYERS.map((layer): [string, Count] => [
  layer,
  { assertions: 0, nonNull: 0, lines: 0, docstrings: 0, questions: 0 },
]));
const long: string[] = [];

for (const top of ["mod.ts", "src", "ffi"]) {
  for await (const path of modulesUnder(".", top)) {
    const text = await Deno.readTextFile(path);
    const count = counts.get(LAYERS[layerOf(path)])!;
    const lines = text.split("\n").length - 1;
    count.lines += lines;
    if (lines > 300) long.push(`${lines} ${path}`);
    for (const [, begins] of text.matchAll(/\/\*\*[\s*]+(\S+)/g)) {
      count.docstrings++;
      if (/^(What|How|Whether|Where|Which)$/.test(begins)) count.questions++;
    }
    visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest), count);
  }
}

function visit(node: ts.Node, count: Count): void {
  if (ts.isAsExpression(node) && !ts.isConstTypeReference(node.type)) count.assertions++;
  if (ts.isNonNullExpression(node)) count.nonNull++;
  ts.forEachChild(node, (child) => visit(child, count));
}

console.table(Object.fromEntries(counts));
const lean = ["src/local", "src/nn", "src/optim", "src/runtime", "src/training", "src/artifacts"];
const casts = (layer: string): number => counts.get(layer)!.assertions + counts.get(layer)!.nonNull;
const sum = (of: (layer: string) => number, layers: readonly string[]): number =>
  layers.reduce((total, layer) => total + of(layer), 0);
console.log(`casts in ${lean.join(", ")}: ${sum(casts, lean)}; in all: ${sum(casts, LAYERS)}`);
console.log(
  `docstrings that begin with a question word: ${sum((layer) => counts.get(layer)!.questions, LAYERS)}`,
);
console.log(`files over 300 lines: ${long.length}\n${long.toSorted().join("\n")}`);
