/**
 * The messages that carry a tracked block outside of programs: the number of steps after which it was like that, and its
 * values.
 *
 * @module
 */

import { at } from "../../base/at.ts";
import type { Tracked } from "../../local/processes/exchange.ts";
import type { DeviceArray } from "../../runtime/arrays.ts";
import { type Aval, hostArrays, type HostData, sizeOf } from "../../trace/dtype.ts";
import { HostArray } from "../../trace/host_array.ts";
import { treeLeaves } from "../../trace/tree.ts";

/** Bytes before a message's values: the number of steps after which the block was like that, i32; −1 in the last message. */
const HEADER = 8;
/** In place of the number of steps, in the last message. */
export const LAST = -1;

/** The values of a tracked block, in the order in which messages have them. */
export function leavesOf<T>({ before, after }: Tracked<T>): T[] {
  return treeLeaves<T>([before.params, before.state, after.params, after.state]);
}

/** Bytes of a message with these values. */
export function bytesOf(avals: readonly Aval[]): number {
  return avals.reduce(
    (sum, { shape, dtype }) => sum + sizeOf(shape) * hostArrays[dtype].BYTES_PER_ELEMENT,
    HEADER,
  );
}

/** The number of steps that a message has. */
export function stepsOf(message: Uint8Array): number {
  return new DataView(message.buffer).getInt32(0, true);
}

/** Writes a message. */
export function pack(message: Uint8Array, steps: number, values: readonly HostData[]): void {
  new DataView(message.buffer).setInt32(0, steps, true);
  let offset = HEADER;
  for (const { buffer, byteOffset, byteLength } of values) {
    message.set(new Uint8Array(buffer, byteOffset, byteLength), offset);
    offset += byteLength;
  }
}

/** Writes the values of a message into arrays. */
export function unpack(message: Uint8Array, avals: readonly Aval[], into: readonly DeviceArray[]): void {
  let offset = HEADER;
  for (const [i, { shape, dtype }] of avals.entries()) {
    const size = sizeOf(shape), bytes = size * hostArrays[dtype].BYTES_PER_ELEMENT;
    const { buffer } = message.slice(offset, offset + bytes); // aligned
    at(into, i).write(new HostArray(new hostArrays[dtype](buffer, 0, size), shape, dtype));
    offset += bytes;
  }
}
