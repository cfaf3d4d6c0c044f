import { at } from "../base/at.ts";
import type { Shape } from "../trace/dtype.ts";
import { HostArray } from "../trace/host_array.ts";

/** True for shapes of four axes, which are those of filters. */
export function isFilter(shape: Shape): shape is readonly [number, number, number, number] {
  return shape.length === 4;
}

/** Filters in PyTorch's layout (OIHW); other arrays stay as they are. */
export function toOihw(array: HostArray): HostArray {
  const { data, shape, dtype } = array;
  if (!isFilter(shape)) return array;
  const [o, h, w, i] = shape;
  return new HostArray(transposed(data, h * w, i), [o, i, h, w], dtype);
}

/** Filters in localgrad's layout (OHWI, also called KRSC); the inverse of {@link toOihw}. */
export function toOhwi(array: HostArray): HostArray {
  const { data, shape, dtype } = array;
  if (!isFilter(shape)) return array;
  const [o, i, h, w] = shape;
  return new HostArray(transposed(data, i, h * w), [o, h, w, i], dtype);
}

/** Transposes each of the `rows` × `columns` matrices that `data` consists of. */
function transposed(data: HostArray["data"], rows: number, columns: number): HostArray["data"] {
  const result = data.slice();
  let from = 0;
  for (let matrix = 0; matrix < data.length; matrix += rows * columns) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        result[matrix + column * rows + row] = at(data, from++);
      }
    }
  }
  return result;
}
