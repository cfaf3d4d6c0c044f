import { crc32 } from "../base/crc32.ts";

/**
 * Encodes pixels, `[height, width, channels]` bytes with one channel (grey) or three (RGB), as a PNG (ISO/IEC 15948). With a
 * `palette` of up to 256 colours, RGB, pixels of one channel are indices into it.
 */
export async function encodePng(
  pixels: Uint8Array,
  height: number,
  width: number,
  channels: 1 | 3,
  palette?: readonly (readonly [red: number, green: number, blue: number])[],
): Promise<Uint8Array> {
  const row = width * channels;
  const filtered = new Uint8Array(height * (row + 1)); // each row begins with its filter: 0, none
  for (let y = 0; y < height; y++) filtered.set(pixels.subarray(y * row, (y + 1) * row), y * (row + 1) + 1);
  const zlib = new Blob([filtered]).stream().pipeThrough(new CompressionStream("deflate"));
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits of a sample
  header.setUint8(9, palette !== undefined ? 3 : channels === 3 ? 2 : 0); // type of colour
  const parts = [
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk("IHDR", new Uint8Array(header.buffer)),
    ...palette === undefined ? [] : [chunk("PLTE", Uint8Array.from(palette.flat()))],
    chunk("IDAT", new Uint8Array(await new Response(zlib).arrayBuffer())),
    chunk("IEND", new Uint8Array(0)),
  ];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** A chunk: the length of its content, its type, the content, and the checksum of type and content. */
function chunk(type: string, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}
