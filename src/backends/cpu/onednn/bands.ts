/**
 * Convolutions of few images, cut into bands of rows so that several threads take part.
 *
 * @module
 */
import type { ConvAttrs } from "../../../trace/ops.ts";
import { elementSize } from "../fused_nest.ts";
import type { Routine } from "../routine.ts";
import { i32 } from "../wasm/scalars.ts";
import { described, type MadeConvolution, product, type TypedShapes } from "./convolution.ts";
import type { OnednnEngine } from "./engine.ts";
import type { Made } from "./maker.ts";

/** The most bands of an image, each of which has its own primitive. */
const MOST_BANDS = 8;

/** A band: its primitive, and its first row of the result and of the image. */
interface Band {
  readonly primitive: Made;
  readonly first: number;
  readonly from: number;
}

/** The forward convolution in bands, and the format that all of them take the filter in. */
interface Banded {
  readonly routine: Routine;
  readonly filterFormat: bigint;
  readonly filterBytes: number;
}

/**
 * A forward convolution with tasks of at least `taskOperations` multiplications and additions; undefined where an image
 * is too small to be cut, or oneDNN has no fast primitive for a band.
 */
export function banded(
  engine: OnednnEngine,
  shapes: TypedShapes,
  attrs: ConvAttrs,
  taskOperations: number,
): Banded | undefined {
  const { dtype, image: [images = 1, height = 1, width = 1, channels = 1], filter, y } = shapes;
  const [, rows = 1, columns = 1, targets = 1] = y;
  const [stride = 1] = attrs.strides, [dilation = 1] = attrs.dilation, [[before] = [0]] = attrs.padding;
  const operations = 2 * rows * columns * product(filter);
  const wanted = Math.min(MOST_BANDS, rows, Math.floor(operations / taskOperations));
  const each = Math.ceil(rows / Math.max(1, wanted));
  if (each >= rows) return undefined;
  const bands: Band[] = [];
  let format: MadeConvolution | undefined;
  for (let first = 0; first < rows; first += each) {
    const count = Math.min(each, rows - first);
    const start = first * stride - before;
    const end = start + (count - 1) * stride + ((filter[1] ?? 1) - 1) * dilation + 1;
    const from = Math.max(0, start), to = Math.min(height, end);
    if (from >= to) return undefined; // it meets padding alone
    const band = { dtype, image: [1, to - from, width, channels], filter, y: [1, count, columns, targets] };
    const [, across = [0, 0] as const] = attrs.padding;
    const made = engine.convolution(
      described("forward", 1, band, { ...attrs, padding: [[from - start, end - to], across] }),
      format?.filterFormat,
    );
    if (made === undefined) return undefined;
    format ??= made;
    bands.push({ primitive: made.primitive, first, from });
  }
  if (format === undefined) return undefined;
  return {
    routine: inBands(bands, images, { rows: height, rowBytes: width * channels * elementSize(dtype) }, {
      rows,
      rowBytes: columns * targets * elementSize(dtype),
    }),
    filterFormat: format.filterFormat,
    filterBytes: format.filterBytes,
  };
}

/** The rows of an image, or of a result. */
interface Rows {
  readonly rows: number;
  readonly rowBytes: number;
}

/** One task for each band of each image. */
function inBands(bands: readonly Band[], images: number, source: Rows, target: Rows): Routine {
  const primitives = bands.map(({ primitive }) => primitive);
  const names = bands.map(({ primitive: { implementation, id }, first, from }) =>
    `${implementation} #${id} at ${first} from ${from}`
  );
  return {
    key:
      `oneDNN forward in bands: ${names.join()}, rows of ${source.rowBytes} and ${target.rowBytes} bytes, ` +
      `${source.rows} and ${target.rows} of an image`,
    tasks: images * bands.length,
    operands: 3,
    scratch: Math.max(...primitives.map(({ scratch }) => scratch)),
    primitives,
    build({ f, operands: [a, b, c], task, execute }) {
      if (a === undefined || b === undefined || c === undefined) {
        throw new Error("a convolution takes three operands");
      }
      const at = f.int(i32.divU(task, bands.length)), band = f.int(i32.remU(task, bands.length));
      f.increment(a, i32.mul(at, source.rows * source.rowBytes));
      f.increment(c, i32.mul(at, target.rows * target.rowBytes));
      bands.forEach(({ primitive, first, from }, index) =>
        f.if(
          i32.eq(band, index),
          () =>
            execute(primitive, i32.add(a, from * source.rowBytes), b, i32.add(c, first * target.rowBytes)),
        )
      );
    },
  };
}
