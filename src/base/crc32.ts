import { at } from "./at.ts";

/** Makes the CRC-32 of a generator polynomial, given with its bits reversed. */
function checksum(polynomial: number): (bytes: Uint8Array) => number {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) {
      remainder = remainder & 1 ? (remainder >>> 1) ^ polynomial : remainder >>> 1;
    }
    return remainder;
  });
  return (bytes) => {
    let sum = 0xffffffff;
    for (const byte of bytes) sum = (sum >>> 8) ^ at(table, (sum ^ byte) & 255);
    return (sum ^ 0xffffffff) >>> 0;
  };
}

/** CRC-32 of bytes, as PNG and gzip have it (ISO 3309). */
export const crc32: (bytes: Uint8Array) => number = checksum(0xedb88320);

/** CRC-32C of bytes: the Castagnoli polynomial (RFC 3720, appendix B.4). */
export const crc32c: (bytes: Uint8Array) => number = checksum(0x82f63b78);
