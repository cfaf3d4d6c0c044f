import { keysOf } from "../../base/keys.ts";
import { choices, counts, methodFlagOf } from "./method.ts";

/** Messages of the library that name its options, and what the command line says in their place. */
const RULES: readonly (readonly [message: RegExp, told: string])[] = [
  [/^fit: validation (?=\S+ of \d+ training images)/, "--validation "],
  [/^fit: validation (?=sets training images aside)/, "--validation "],
  [/^memoryLimit: /, "--memory-limit: "],
  [
    /a list of methods, modules: "auto", accumulate: "auto"$/,
    "--method A,B, no --modules, --after or --split, --accumulate auto",
  ],
  [/^crossEntropyLoss: /, "--class-weights: "],
  [/^\w+: (?=\d+ class weights for a network)/, "--class-weights: "],
  [/^freeze: /, "--freeze: "],
  [/^\w+: cascadeWeight (?=must be)/, "--cascade-weight "],
  [/^partition: (?=.* (?:has no block|is the last block|does not come after) ?)/, "--after: "],
  [/^(?:partition|balanced): (?=.* cut into )/, "--modules: "],
  [
    /lower the learning rate \((\S+)\), or find the op by the trainer's checkNumerics/,
    "lower the learning rate (--lr; it was $1)",
  ],
  [/Give other weights: infopro\(.*\)$/, "Choose another --weight-schedule, or --method dgl"],
  [/choose weights: \{ reconstruction: \[0, 0\], … \} or dgl\(\)/, "choose --method dgl"],
];

/** A message of the library, which names those of its options that have flags by their flags. */
export function inFlags(message: string): string {
  const told = RULES.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), message);
  const names = [...keysOf(choices), "momentum", "cascadeWeight", ...counts] as const;
  return names.reduce<string>((text, name) =>
    text
      .replaceAll(new RegExp(`\\b${name}: "(\\w+)"`, "g"), `--${methodFlagOf(name)} $1`)
      .replaceAll(`leave ${name} out`, `leave --${methodFlagOf(name)} out`), told);
}
