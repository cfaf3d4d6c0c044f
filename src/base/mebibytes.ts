/** Bytes in MiB, rounded up, for messages: `5708.56 MiB`. */
export function mebibytes(bytes: number): string {
  return `${(Math.ceil(bytes / 2 ** 20 * 100) / 100).toFixed(2)} MiB`;
}
