import { at } from "../base/at.ts";
import type { Processes } from "./communicator.ts";

/** The bytes of process 0, on every process; all call it. */
export function sharedBytes(
  { rank, communicators: { world } }: Pick<Processes, "rank" | "communicators">,
  bytes: Uint8Array<ArrayBuffer> | undefined,
): Uint8Array<ArrayBuffer> {
  const length = Float64Array.of(bytes?.length ?? 0);
  world.broadcast(bytesOf(length), 0).wait();
  const shared = rank === 0 && bytes !== undefined ? bytes : new Uint8Array(at(length, 0));
  world.broadcast(shared, 0).wait();
  return shared;
}

/** The bytes of a typed array. */
export function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
