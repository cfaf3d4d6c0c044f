import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import type { HostData } from "../trace/dtype.ts";
import type { HostArray } from "../trace/host_array.ts";
import type { Communicator } from "./communicator.ts";

/**
 * Refuses to go on if tensors that all processes of a group have in common, such as the parameters of processes that
 * share each batch, are not the same bits on all of them. All call it for the same tensors, and all throw the same error.
 * It sends eight bytes for each tensor. Called by the trainer over processes after each epoch, in the group `data`.
 *
 * @throws {LocalgradError} if they differ; the message names the first tensor and the processes.
 */
export function sameBits(communicator: Communicator, tensors: ReadonlyMap<string, HostArray>): void {
  const { rank, size } = communicator;
  if (size === 1) return;
  const names = [...tensors.keys()];
  const sums = [...tensors.values()].map(({ data }) => checksum(data));
  const both = Uint32Array.from([...sums, ...sums.map((sum) => ~sum)]); // the complement's maximum gives the minimum
  communicator.allReduce(new Uint8Array(both.buffer), "u32", "max").wait();
  const count = sums.length;
  const isDifferent = (i: number) => at(both, i) !== ~at(both, count + i) >>> 0;
  const first = names.findIndex((_, i) => isDifferent(i));
  if (first < 0) return;
  const found = new Uint32Array(size);
  found[rank] = at(sums, first);
  communicator.allReduce(new Uint8Array(found.buffer), "u32", "sum").wait();
  const others = [...found.keys()].filter((process) => found[process] !== found[0]);
  const more = names.filter((_, i) => isDifferent(i)).length - 1;
  const which = more === 0 ? `${names[first]}` : `${names[first]} and ${more} more tensors`;
  const process = others.length === 1 ? "process" : "processes";
  const differ = more === 0 ? "differs from that" : "differ from those";
  throw new LocalgradError(
    `${which} of ${process} ${
      others.join(", ")
    } ${differ} of process 0, although all made the same steps: the ` +
      "processes must run on the same kind of processor with the same engine and libraries; resume from the last " +
      "checkpoint",
  );
}

/**
 * A checksum of 32 bits of an array's elements, after FNV-1a (Fowler, Noll and Vo, 1991) but by words. Each step is a
 * bijection, so arrays that differ in one word always differ in it.
 */
export function checksum(data: HostData): number {
  const words = data instanceof Float32Array
    ? new Uint32Array(data.buffer, data.byteOffset, data.length)
    : data;
  let hash = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) {
    hash = Math.imul((hash << 13 | hash >>> 19) ^ at(words, i), 0x01000193); // rotated: products carry upwards only
  }
  return hash >>> 0;
}
