import { LocalgradError } from "../base/errors.ts";

/** An array of bytes in an IDX file, the format of MNIST. */
export interface IdxArray {
  /** Its extents, outermost first. */
  readonly shape: readonly number[];
  /** Its elements, row-major. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** The code of unsigned bytes; the others are of wider numbers, which no set of images uses. */
const BYTES = 8;

const TYPES: Readonly<Record<number, string>> = {
  9: "signed bytes",
  11: "16-bit integers",
  12: "32-bit integers",
  13: "f32",
  14: "f64",
};

/**
 * Reads an array of unsigned bytes from an IDX file: two zero bytes, the type, the number of axes, each extent as a
 * big-endian 32-bit number, then the elements (MNIST's home page, "File formats"). `where` names the file in messages.
 *
 * @throws {LocalgradError} if it is of another format or type, truncated, or longer than its header says.
 */
export function readIdx(bytes: Uint8Array<ArrayBuffer>, where: string): IdxArray {
  const [zero, another, type = 0, axes = 0] = bytes;
  if (zero !== 0 || another !== 0 || (type !== BYTES && TYPES[type] === undefined)) {
    throw new LocalgradError(`${where} is not an IDX file: it does not begin with 0, 0 and a type`);
  }
  if (type !== BYTES) {
    throw new LocalgradError(`${where} holds ${TYPES[type]}, not bytes; it is of another set`);
  }
  const header = 4 + 4 * axes;
  if (bytes.length < header) throw truncated(where);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: axes }, (_, axis) => view.getUint32(4 + 4 * axis));
  const size = shape.reduce((product, extent) => product * extent, 1);
  const data = bytes.subarray(header);
  if (data.length < size) throw truncated(where);
  if (data.length > size) {
    throw new LocalgradError(
      `${where} is damaged: its header says ${size} bytes (${
        shape.join("×")
      }), but ${data.length} follow; download it again`,
    );
  }
  return { shape, data };
}

function truncated(where: string): LocalgradError {
  return new LocalgradError(`${where} is truncated: it ends before its last element; download it again`);
}
