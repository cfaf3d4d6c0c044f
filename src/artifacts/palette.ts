const PALETTE = [
  "#4e79a7",
  "#f28e2b",
  "#59a14f",
  "#b07aa1",
  "#e15759",
  "#76b7b2",
  "#9c755f",
  "#edc948",
  "#ff9da7",
  "#8c9199",
] as const;

/** The colour of one of `count` things: from the palette, or of many, hues in order. */
export function colour(index: number, count: number): string {
  const fixed = count <= PALETTE.length ? PALETTE[index] : undefined;
  return fixed ?? `hsl(${Math.round(212 + 300 * index / count) % 360} 60% 54%)`;
}
