import { type HostData, sizeOf } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";

/** Filters as PyTorch lays them out (OIHW); a tensor of four axes is one, others stay as they are. */
export function toOihw(array: HostArray): HostArray {
  return array.shape.length === 4 ? permuted(array, [0, 3, 1, 2]) : array;
}

/** Filters as localgrad lays them out (OHWI, also called KRSC); the inverse of {@link toOihw}. */
export function toOhwi(array: HostArray): HostArray {
  return array.shape.length === 4 ? permuted(array, [0, 2, 3, 1]) : array;
}

/** Axis i of the result is axis `order[i]`. */
function permuted({ data, shape, dtype }: HostArray, order: readonly number[]): HostArray {
  const steps = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  const [a, b, c, d] = order.map((axis) => shape[axis]);
  const [sa, sb, sc, sd] = order.map((axis) => steps[axis]);
  const result = data.slice() as HostData;
  let to = 0;
  for (let i = 0; i < a; i++) {
    for (let j = 0; j < b; j++) {
      for (let k = 0; k < c; k++) {
        for (let l = 0; l < d; l++) result[to++] = data[i * sa + j * sb + k * sc + l * sd];
      }
    }
  }
  return new HostArray(result, [a, b, c, d], dtype);
}
