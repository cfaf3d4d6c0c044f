import { namedLeaves } from "../../artifacts/network_values.ts";
import type { Shard } from "../../data/augment.ts";
import { descend, type Named } from "../../nn/named.ts";
import { type Device, type DeviceArray, disposeTree } from "../../runtime/arrays.ts";
import { type Shape, sizeOf } from "../../trace/dtype.ts";
import { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";
import type { Feed } from "./feed.ts";

/** Images in shards no larger than the device allows a value to be, by the index of each shard's first image. */
export function shardsOf(
  device: Device,
  data: Uint8Array | Float32Array,
  [count = 0, ...image]: Shape,
): { readonly [first: string]: HostArray } {
  const size = sizeOf(image);
  const most = Math.floor(device.backend.target.maxValueBytes / (size * data.BYTES_PER_ELEMENT));
  const rows = Math.max(1, Math.min(count, most));
  const shards: { [first: string]: HostArray } = {};
  for (let first = 0; first < count; first += rows) {
    const end = Math.min(count, first + rows);
    shards[first] = new HostArray(data.subarray(first * size, end * size), [end - first, ...image]);
  }
  return shards;
}

/** The shards at a path among the data of a batch, for a traced function. */
export function shardsIn(data: Named<Tensor>, path = "shards"): Shard[] {
  return namedLeaves(descend(data, path)).map(([first, bytes]) => ({ first: Number(first), bytes }));
}

/** The part of a feed that every feed of resident arrays has. */
export function residence(arrays: Named<DeviceArray>): Pick<Feed, "supply"> & AsyncDisposable {
  return {
    async *supply(requests) {
      for (const request of requests) yield { ...request, data: arrays };
      return undefined;
    },
    [Symbol.asyncDispose]() {
      disposeTree(arrays);
      return Promise.resolve();
    },
  };
}
