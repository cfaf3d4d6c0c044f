import type { Datatype } from "../../../ffi/mpi_abi.ts";
import { bf16Bits, bf16Value } from "../../trace/bf16.ts";
import { type DType, hostArrays } from "../../trace/dtype.ts";

/** Elements in a form that MPI can reduce. */
export interface Encoded {
  /** The memory to reduce in place. */
  readonly bytes: Uint8Array;
  /** Its datatype, of MPI. */
  readonly datatype: Exclude<Datatype, "byte">;
  /** The number of elements. */
  readonly count: number;
  /** Writes the result back, if `bytes` is a copy. */
  decode?(): void;
}

/**
 * The form in which elements are reduced. MPI has no bf16: its sums are taken in f32 and rounded once. What MPI's
 * maximum makes of NaN depends on the order of the processes; as integers in the order of the floats, with NaN at the
 * end, it propagates, and all processes get the same bits.
 */
export function encode(data: Uint8Array, dtype: DType, fn: "sum" | "max" | "min"): Encoded {
  const count = data.length / hostArrays[dtype].BYTES_PER_ELEMENT;
  if (dtype !== "bf16" && !(dtype === "f32" && fn !== "sum")) {
    return { bytes: data, datatype: dtype === "bool" ? "u32" : dtype, count };
  }
  if (fn === "sum") {
    const values = Float32Array.from(new Uint16Array(copied(data)), bf16Value);
    const decode = () => data.set(new Uint8Array(Uint16Array.from(values, bf16Bits).buffer));
    return { bytes: new Uint8Array(values.buffer), datatype: "f32", count, decode };
  }
  const bits = dtype === "f32"
    ? new Int32Array(copied(data))
    : Int32Array.from(new Uint16Array(copied(data)), (upper) => upper << 16);
  const nan = fn === "max" ? 0x7fc00000 : 0xffc00000;
  const keys = bits.map((word) => reversed((word & 0x7fffffff) > 0x7f800000 ? nan : word));
  const decode = () => {
    const words = keys.map(reversed);
    const result = dtype === "f32" ? words : Uint16Array.from(words, (word) => word >>> 16);
    data.set(new Uint8Array(result.buffer));
  };
  return { bytes: new Uint8Array(keys.buffer), datatype: "i32", count, decode };
}

/** Maps the bits of floats to integers of the same order, and back: negative floats have their order reversed. */
function reversed(word: number): number {
  return word ^ (word >> 31 & 0x7fffffff);
}

/** A copy of bytes, in memory of its own, where elements of any width are aligned. */
function copied(data: Uint8Array): ArrayBuffer {
  return new Uint8Array(data).buffer;
}
