/**
 * Copies an image of three colour planes to interleaved pixels, `[side, side, 3]`.
 *
 * @param planes The red, green and blue planes, each `[side, side]`.
 * @param pixels Receives the result.
 * @param side Rows and columns of the image.
 * @param order Whether each plane lists its pixels row by row or column by column.
 */
export function interleave(
  planes: Uint8Array | Float64Array,
  pixels: Uint8Array,
  side: number,
  order: "rows" | "columns",
): void {
  const [lineStride, pixelStride] = order === "rows" ? [3 * side, 3] : [3, 3 * side];
  for (let line = 0; line < 3 * side; line++) {
    let to = Math.floor(line / side) + line % side * lineStride;
    for (const value of planes.subarray(line * side, (line + 1) * side)) {
      pixels[to] = value;
      to += pixelStride;
    }
  }
}
