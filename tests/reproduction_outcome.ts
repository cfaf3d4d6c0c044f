/** The files that a reproduction leaves in its folder, for tests. */

import { assert } from "@std/assert";
import { createHash } from "node:crypto";
import { contents } from "./command_line.ts";

/**
 * The parts that do not depend on the clock or on the process: results without speeds and resident memory, checkpoints, and
 * the metrics of steps.
 */
export function outcome(dir: string): Map<string, unknown> {
  const kept = new Map<string, unknown>();
  for (const [name, bytes] of contents(dir)) {
    const text = () => new TextDecoder().decode(bytes);
    if (name.endsWith("result.json")) {
      const { seconds: _seconds, imagesPerSecond: _speed, residentBytes: _resident, ...facts } = JSON.parse(
        text(),
      );
      kept.set(name, facts);
    } else if (name.endsWith(".safetensors") || name === "reproduction.json") {
      kept.set(name, createHash("sha256").update(bytes).digest("hex"));
    } else if (name.endsWith("metrics.jsonl")) {
      kept.set(name, text().split("\n").filter((line) => line.includes('"kind":"step"')));
    }
  }
  return kept;
}

/** Waits until a condition is true. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; !await holds(); i++) {
    assert(i < 15_000, "waited for five minutes");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Returns true if a file exists. */
export const exists = (path: string) => Deno.stat(path).then(() => true, () => false);
/** Returns the number of lines of a file; 0 if it does not exist. */
export const lines = (path: string) =>
  Deno.readTextFile(path).then((text) => text.split("\n").length - 1, () => 0);
