import type { Backend, DeviceBuffer } from "../backends/backend.ts";
import { LocalgradError } from "../base/errors.ts";
import { fromBf16 } from "../trace/bf16.ts";
import { type Aval, bytesOf, formatAval, hostArrays, type HostData, sizeOf } from "../trace/dtype.ts";

/** The memory of an array. */
export interface ArrayMemory extends Aval {
  readonly buffer: DeviceBuffer;
  /** Awaited before its elements are known to be right. */
  readonly guard: Promise<void> | undefined;
}

/**
 * Reads the first `count` elements, all by default. The copy is issued at once: before the caller does anything else
 * with this memory.
 */
export async function readElements(
  backend: Backend,
  memory: ArrayMemory,
  count: number = sizeOf(memory.shape),
): Promise<HostData> {
  const { buffer, guard, dtype } = memory;
  try {
    const reading = backend.read(buffer, bytesOf({ shape: [count], dtype }));
    const [bytes] = await Promise.all([reading, guard]);
    return new hostArrays[dtype](bytes.buffer, bytes.byteOffset, count);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const message = `the host has no memory for ${formatAval(memory)}, ${bytesOf(memory)} bytes; ` +
      `slice it in a traced function, and read the parts`;
    throw new LocalgradError(message, { cause: error });
  }
}

/** Number of values that a notebook shows. */
const SHOWN = 12;

/** The first values, for a notebook. */
export async function firstValues(backend: Backend, memory: ArrayMemory): Promise<string> {
  const size = sizeOf(memory.shape);
  const stored = await readElements(backend, memory, Math.min(size, SHOWN));
  const values = memory.dtype === "bf16" ? fromBf16(Uint16Array.from(stored)) : stored;
  const texts = Array.from(values, (value) => String(Number(value.toPrecision(6))));
  return [...texts, ...size > SHOWN ? ["…"] : []].join(", ");
}
