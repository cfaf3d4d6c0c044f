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
  return fixed(index, count) ?? `hsl(${hue(index, count)} ${100 * SATURATION}% ${100 * LIGHTNESS}%)`;
}

/** The same colour as red, green and blue, 0 to 255. */
export function rgb(index: number, count: number): [red: number, green: number, blue: number] {
  const hex = fixed(index, count);
  if (hex !== undefined) {
    const value = Number.parseInt(hex.slice(1), 16);
    return [value >> 16, value >> 8 & 255, value & 255];
  }
  // CSS Color 4, section 7: from HSL.
  const span = SATURATION * Math.min(LIGHTNESS, 1 - LIGHTNESS);
  const channel = (n: number) => {
    const k = (n + hue(index, count) / 30) % 12;
    return Math.round(255 * (LIGHTNESS - span * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

const SATURATION = 0.6, LIGHTNESS = 0.54;

const fixed = (index: number, count: number) => count <= PALETTE.length ? PALETTE[index] : undefined;

const hue = (index: number, count: number) => Math.round(212 + 300 * index / count) % 360;
