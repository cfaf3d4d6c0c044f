import type { Shape } from "../../../trace/dtype.ts";
import type { ConvAttrs } from "../../../trace/ops.ts";
import type { ConvShapes } from "../conv.ts";
import { elementSize } from "../fused_nest.ts";
import type { Launch, Launches, Operand, Routine } from "../routine.ts";
import { sumChunks } from "../sum_chunks.ts";
import { WORD } from "../tile.ts";
import { i32 } from "../wasm/scalars.ts";
import { banded } from "./bands.ts";
import {
  type Convolution,
  described,
  filterLayout,
  type MadeConvolution,
  product,
  type TypedShapes,
} from "./convolution.ts";
import type { OnednnEngine } from "./engine.ts";
import type { Floats, Made } from "./maker.ts";

/**
 * Multiplications and additions of a task: some 20 µs, against which the 1 µs of a call does not count. Slices of 1, 4
 * and 32 images are equally fast (3 × 3, 64 → 64 at 8²: 130, 132 and 133 GFLOP/s of one thread beside other programs).
 */
const TASK_OPERATIONS = 2.5e6;
/** The same for a filter's gradient, */
const PARTIAL_OPERATIONS = 4e6;
/** and pixels of a slice, against which writing and adding its partial gradient does not count. */
const PARTIAL_PIXELS = 256;
/** The most slices of a batch. */
const MOST_SLICES = 64;
/** Slices of the batch below which a convolution is cut into bands of rows instead. */
const FEW_SLICES = 4;
/** Bytes of workspace for partial gradients of a filter. */
const PARTIAL_BYTES = 10 * 2 ** 20;
/**
 * Operations beyond which WebAssembly, which divides the channels, is left a gradient that does not fit twice. 512 → 512
 * at 2², batch 8 (1.5e8): 118 GFLOP/s by one thread, 50 by two of WebAssembly.
 */
const MOST_UNDIVIDED = 2e8;
/** The padding of a filter's format that is put up with: a depthwise 7 × 7 filter's gradient has 256 times its size. */
const MOST_PADDING = 8;

/** Elements of a filter whose reorder is cut: that of 512 × 512 × 3 × 3 takes 1.5 ms of one thread. */
const PARTS_ELEMENTS = 2 ** 17;
/** Parts that it is cut into, if formats can be cut so. */
const PARTS = 4;

/** Images cut into equal slices, and one for the rest. */
interface Slices {
  readonly images: number;
  readonly count: number;
  /** Images of the last slice, if it has fewer. */
  readonly rest: number;
}

function slicesOf(images: number, wanted: number): Slices {
  const each = Math.ceil(images / Math.max(1, Math.min(images, wanted)));
  return { images: each, count: Math.ceil(images / each), rest: images % each };
}

function operations({ filter, y }: ConvShapes): number {
  return 2 * product(y) * product(filter.slice(1));
}

/** The primitives of all slices, with one format of the filter; undefined where oneDNN has none that is fast. */
function madeFor(
  engine: OnednnEngine,
  kind: Convolution["kind"],
  slices: Slices,
  shapes: TypedShapes,
  attrs: ConvAttrs,
): { whole: MadeConvolution; rest: Made | undefined } | undefined {
  const whole = engine.convolution(described(kind, slices.images, shapes, attrs));
  if (whole === undefined) return undefined;
  if (whole.filterBytes > MOST_PADDING * WORD * product(shapes.filter)) return undefined;
  if (slices.rest === 0) return { whole, rest: undefined };
  const rest = engine.convolution(described(kind, slices.rest, shapes, attrs), whole.filterFormat);
  return rest === undefined ? undefined : { whole, rest: rest.primitive };
}

/** One call of a primitive for each slice; `bytes` are those of a slice of each operand. */
function sliced(
  name: string,
  slices: Slices,
  whole: Made,
  rest: Made | undefined,
  bytes: readonly number[],
): Routine {
  const primitives = rest === undefined ? [whole] : [whole, rest];
  return {
    key: `oneDNN ${name} ${primitives.map(({ id, implementation }) => `${implementation} #${id}`).join()}, ` +
      `slices of ${bytes.join()} bytes`,
    tasks: slices.count,
    operands: bytes.length,
    scratch: Math.max(...primitives.map(({ scratch }) => scratch)),
    primitives,
    build({ f, operands, task, execute }) {
      const [a, b, c] = operands.map((operand, i) => f.int(i32.add(operand, i32.mul(task, bytes[i] ?? 0))));
      if (a === undefined || b === undefined || c === undefined) {
        throw new Error("a primitive takes three operands");
      }
      if (rest === undefined) execute(whole, a, b, c);
      else {
        f.if(
          i32.eq(task, slices.count - 1),
          () => execute(rest, a, b, c),
          () => execute(whole, a, b, c),
        );
      }
    },
  };
}

/** A filter, or its gradient, turned from one format into another. */
function reordered(
  engine: OnednnEngine,
  { dtype, filter }: TypedShapes,
  groups: number,
  format: bigint,
  to: "plain" | "format",
  [from, target]: readonly [Operand, Operand],
): Launch {
  const parts = groups === 1 && product(filter) >= PARTS_ELEMENTS ? PARTS : 1;
  const reorders = engine.reorder(filterLayout(dtype, filter, groups), format, to, parts);
  return {
    operands: [from, target],
    routine: {
      key: `oneDNN reorder ${reorders.map(({ implementation, id }) => `${implementation} #${id}`).join()}`,
      tasks: reorders.length,
      operands: 2,
      scratch: Math.max(...reorders.map(({ scratch }) => scratch)),
      primitives: reorders,
      build({ f, operands: [a, b], task, execute }) {
        if (a === undefined || b === undefined) throw new Error("a reorder takes two operands");
        reorders.forEach((reorder, part) => f.if(i32.eq(task, part), () => execute(reorder, a, b)));
      },
    },
  };
}

const bytesOfSlice = ({ images }: Slices, shape: Shape, dtype: Floats): number =>
  images * product(shape.slice(1)) * elementSize(dtype);

/** `conv(image, filter)` or `convInputGrad(dy, filter)`; undefined where it stays with WebAssembly. */
export function correlation(
  engine: OnednnEngine,
  kind: "forward" | "inputGrad",
  shapes: TypedShapes,
  attrs: ConvAttrs,
  source: Operand,
  filter: Operand,
  target: Operand,
): Launches | undefined {
  const { dtype, image, y } = shapes;
  const wanted = Math.min(MOST_SLICES, Math.ceil(operations(shapes) / TASK_OPERATIONS));
  const slices = slicesOf(image[0] ?? 1, wanted);
  const packed: Operand = { workspace: 0 };
  const bands = kind === "forward" && slices.count < FEW_SLICES
    ? banded(engine, shapes, attrs, TASK_OPERATIONS)
    : undefined;
  if (bands !== undefined) {
    return {
      launches: [
        reordered(engine, shapes, attrs.groups, bands.filterFormat, "format", [filter, packed]),
        { routine: bands.routine, operands: [source, packed, target] },
      ],
      workspace: bands.filterBytes,
    };
  }
  const made = madeFor(engine, kind, slices, shapes, attrs);
  if (made === undefined) return undefined;
  const { whole: { primitive, filterFormat, filterBytes }, rest } = made;
  const [from, to] = kind === "forward" ? [image, y] : [y, image];
  const bytes = [bytesOfSlice(slices, from, dtype), 0, bytesOfSlice(slices, to, dtype)];
  return {
    launches: [
      reordered(engine, shapes, attrs.groups, filterFormat, "format", [filter, packed]),
      { routine: sliced(kind, slices, primitive, rest, bytes), operands: [source, packed, target] },
    ],
    workspace: filterBytes,
  };
}

/**
 * `convFilterGrad(image, dy)`: each slice of the batch gives a partial gradient, and these are added in order. The cut
 * depends on shapes alone, and so do the bits. Undefined where it stays with WebAssembly.
 */
export function filterGrad(
  engine: OnednnEngine,
  shapes: TypedShapes,
  attrs: ConvAttrs,
  image: Operand,
  dy: Operand,
  dw: Operand,
): Launches | undefined {
  const worthwhile = Math.min(
    Math.ceil(operations(shapes) / PARTIAL_OPERATIONS),
    Math.ceil(product(shapes.y.slice(0, 3)) / PARTIAL_PIXELS),
  );
  /** The slices for partial gradients of `bytes` each, and their primitives. */
  const cut = (bytes: number) => {
    const fitting = Math.floor(PARTIAL_BYTES / bytes);
    if (fitting < 2 && operations(shapes) > MOST_UNDIVIDED) return undefined;
    const slices = slicesOf(shapes.image[0] ?? 1, Math.min(fitting, MOST_SLICES, worthwhile));
    const made = madeFor(engine, "filterGrad", slices, shapes, attrs);
    return made && { ...made, slices };
  };
  const plain = cut(product(shapes.filter) * WORD);
  // Where oneDNN pads the format, fewer may fit.
  const paddedBytes = plain?.whole.filterBytes ?? 0;
  const made = plain && plain.slices.count * paddedBytes > PARTIAL_BYTES ? cut(paddedBytes) : plain;
  if (made === undefined) return undefined;
  const { slices } = made;
  const { whole: { primitive, filterFormat, filterBytes }, rest } = made;
  const toPlain = (from: Operand) =>
    reordered(engine, shapes, attrs.groups, filterFormat, "plain", [from, dw]);
  const stride = Math.ceil(filterBytes / WORD) * WORD;
  const partial: Operand = { workspace: 0 };
  const bytes = [shapes.image, shapes.y].map((shape) => bytesOfSlice(slices, shape, shapes.dtype));
  const gradients = {
    routine: sliced("filterGrad", slices, primitive, rest, [...bytes, stride]),
    operands: [image, dy, partial],
  };
  if (slices.count === 1) {
    return { launches: [gradients, toPlain(partial)], workspace: stride };
  }
  const total: Operand = { workspace: slices.count * stride };
  return {
    launches: [
      gradients,
      sumChunks(slices.count, stride / WORD, partial, total),
      toPlain(total),
    ],
    workspace: (slices.count + 1) * stride,
  };
}
