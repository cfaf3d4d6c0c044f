/**
 * Draws the pictures of the gallery from what the examples print:
 *
 *     deno run --allow-read=. --allow-run=deno --allow-write=examples docs/site/pictures.ts
 *
 * @module
 */

import { escape } from "./markdown.ts";

/** A row of an example's output: a name, MiB, and whether that fits. */
interface Row {
  readonly name: string;
  readonly mebibytes: number;
  readonly fits: boolean;
}

/** The rows that `examples/memory_limit.ts` prints. */
export function rowsOf(output: string): Row[] {
  return [...output.matchAll(/^(.+?) +(\d+) MiB {2}(fits|too large)$/gm)].map((
    [, name = "", mebibytes, fits],
  ) => ({ name, mebibytes: Number(mebibytes), fits: fits === "fits" }));
}

/** Bars of memory as SVG, those above the limit in another colour. */
export function bars(rows: readonly Row[], limit: number): string {
  const [left, scale] = [190, 330 / Math.max(limit, ...rows.map(({ mebibytes }) => mebibytes))];
  const end = 26 * rows.length + 12;
  const drawn = rows.map(({ name, mebibytes, fits }, i) => {
    const y = 26 * i + 8;
    const width = (mebibytes * scale).toFixed(1);
    return `<text x="${left - 8}" y="${y + 14}" text-anchor="end">${escape(name)}</text>
<rect x="${left}" y="${y}" width="${width}" height="18" rx="3" fill="${fits ? "#59a14f" : "#e15759"}"/>
<text x="${(left + mebibytes * scale + 6).toFixed(1)}" y="${y + 14}">${mebibytes} MiB</text>`;
  });
  const x = (left + limit * scale).toFixed(1);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 ${
    end + 22
  }" font-family="sans-serif" font-size="13">
<rect width="600" height="${end + 22}" fill="#fff"/>
${drawn.join("\n")}
<path d="M${x} 2V${end}" stroke="#1b1f26" stroke-dasharray="4 3"/>
<text x="${x}" y="${end + 14}" text-anchor="middle">limit ${limit} MiB</text>
</svg>
`;
}

if (import.meta.main) {
  const { success, stdout } = await new Deno.Command("deno", {
    args: ["run", "-q", "examples/memory_limit.ts", "--limit", "400"],
    env: { NO_COLOR: "1" },
    stderr: "inherit",
  }).output();
  if (!success) Deno.exit(1);
  await Deno.writeTextFile("examples/memory_limit.svg", bars(rowsOf(new TextDecoder().decode(stdout)), 400));
}
