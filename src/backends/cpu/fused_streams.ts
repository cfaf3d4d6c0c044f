import type { View } from "../../compile/kernel.ts";
import { type DType, isFloat } from "../../trace/dtype.ts";
import type { I32, V128 } from "./wasm/expressions.ts";
import { i32, int } from "./wasm/scalars.ts";
import { f32x4, i32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import type { Nest } from "./fused_nest.ts";
import { HALF, LANES, WORD } from "./tile.ts";

/** A view as the loops traverse it: the address of the current element or, for indices, the index itself. */
export class Stream {
  constructor(readonly at: Local<"i32">, readonly view: View, readonly unit: number) {}

  /** Bytes from one index of an axis to the next; negative axes count from the end. */
  step(axis: number): number {
    return (this.view.strides.at(axis) ?? 0) * this.unit;
  }

  /** True if all lanes of a vector are one element. */
  get uniform(): boolean {
    return this.step(-1) === 0;
  }
}

/** The streams of a nest, one for each operand and view. */
export class Streams {
  readonly #streams = new Map<string, Stream>();

  constructor(readonly f: FunctionBuilder, readonly nest: Nest, readonly operands: readonly Local<"i32">[]) {}

  /** All streams. */
  get all(): Iterable<Stream> {
    return this.#streams.values();
  }

  /** The stream of an operand's view. */
  of(operand: number, view: View): Stream {
    return this.#get(
      `${operand}:${view.offset}:${view.strides}`,
      view,
      this.nest.elementBytes[operand],
      () => this.operands[operand],
    );
  }

  /** The stream of a view's indices. */
  indices(view: View): Stream {
    return this.#get(`index:${view.offset}:${view.strides}`, view, 1, () => int(0));
  }

  #get(key: string, view: View, unit: number, base: () => I32): Stream {
    let stream = this.#streams.get(key);
    if (stream === undefined) {
      stream = new Stream(this.f.int(i32.add(base(), view.offset * unit)), view, unit);
      this.#streams.set(key, stream);
    }
    return stream;
  }

  /** Moves all streams along an axis. */
  move(axis: number, by: number | I32): void {
    for (const stream of this.all) {
      const step = stream.step(axis);
      if (step === 0) continue;
      this.f.increment(stream.at, typeof by === "number" ? step * by : i32.mul(by, step));
    }
  }

  /** Runs `body` `count` times, moving along an axis by `step` each time. */
  loop(axis: number, count: number | I32, step: number, body: () => void): void {
    const i = this.f.int(0);
    this.f.for(i, 0, count, 1, () => {
      body();
      this.move(axis, step);
    });
  }
}

/** An address with a constant offset, which may be negative, as operands of a load or store. */
function place(at: I32, offset: number): [I32, number] {
  return offset >= 0 ? [at, offset] : [i32.add(at, offset), 0];
}

/**
 * Reads the first `lanes` elements of vector `vector`, one in each lane, without sign; the contents of the other lanes are
 * undefined.
 */
export function readVector(f: FunctionBuilder, stream: Stream, vector: number, lanes: number): V128 {
  const step = stream.step(-1);
  const word = stream.unit === WORD;
  const load = stream.unit === HALF ? i32.load16u : i32.load8u;
  const start = vector * LANES * step;
  if (step === 0) return word ? v128.load32Splat(stream.at) : i32x4.splat(load(stream.at));
  if (step === stream.unit) {
    if (word) return v128.load(stream.at, start);
    return step === HALF
      ? v128.load16x4U(stream.at, start)
      : i32x4.fromBytesU(v128.load32Zero(stream.at, start));
  }
  const result = f.local("v128");
  for (let lane = 0; lane < lanes; lane++) {
    const [address, offset] = place(stream.at, start + lane * step);
    if (!word) {
      const value = load(address, offset);
      f.set(result, lane === 0 ? i32x4.splat(value) : i32x4.withLane(result, lane, value));
    } else {
      f.set(
        result,
        lane === 0 ? v128.load32Splat(address, offset) : v128.load32Lane(address, result, lane, offset),
      );
    }
  }
  return result;
}

/** The indices of a vector. */
export function indexVector(f: FunctionBuilder, stream: Stream, vector: number): V128 {
  const step = stream.step(-1);
  const first = i32x4.splat(i32.add(stream.at, vector * LANES * step));
  return step === 0 ? first : i32x4.add(first, f.constant(i32x4.constant(0, step, 2 * step, 3 * step)));
}

/**
 * Converts elements of `bytes` bytes from memory to the form used in computation: bytes to numbers of `dtype`, bf16 to the
 * f32 of the same value, bools to masks.
 */
export function decode(f: FunctionBuilder, value: V128, dtype: DType, bytes: number): V128 {
  if (dtype === "bool") return i32x4.ne(value, f.constant(i32x4.constant(0)));
  if (bytes === HALF) return i32x4.shl(value, 16);
  return bytes === 1 && isFloat(dtype) ? f32x4.fromI32(value) : value;
}

/** Writes the first `lanes` lanes to vector `vector`. */
export function writeVector(
  f: FunctionBuilder,
  stream: Stream,
  vector: number,
  lanes: number,
  value: V128,
  dtype: DType,
): void {
  if (stream.unit === HALF) return writeHalves(f, stream, vector, lanes, value);
  const stored = f.local("v128", dtype === "bool" ? v128.and(value, f.constant(i32x4.constant(1))) : value);
  const step = stream.step(-1);
  if (step !== WORD && step !== 0) { // a padded value, with gaps between its elements
    for (let lane = 0; lane < lanes; lane++) {
      f.do(v128.store32Lane(stream.at, stored, lane, (vector * LANES + lane) * step));
    }
    return;
  }
  const offset = vector * LANES * WORD;
  if (lanes === LANES) return f.do(v128.store(stream.at, stored, offset));
  if (lanes >= 2) f.do(v128.store64Lane(stream.at, stored, 0, offset));
  if (lanes % 2 === 1) f.do(v128.store32Lane(stream.at, stored, lanes - 1, offset + (lanes - 1) * WORD));
}

/** The same for bf16: the upper halves of rounded values. */
function writeHalves(f: FunctionBuilder, stream: Stream, vector: number, lanes: number, value: V128): void {
  const upper = f.local("v128", i32x4.shrU(value, 16));
  const stored = f.local("v128", i32x4.narrowU(upper, upper));
  const step = stream.step(-1);
  if (step !== HALF && step !== 0) {
    for (let lane = 0; lane < lanes; lane++) {
      f.do(v128.store16Lane(stream.at, stored, lane, (vector * LANES + lane) * step));
    }
    return;
  }
  const offset = vector * LANES * HALF;
  if (lanes === LANES) return f.do(v128.store64Lane(stream.at, stored, 0, offset));
  if (lanes >= 2) f.do(v128.store32Lane(stream.at, stored, 0, offset));
  if (lanes % 2 === 1) f.do(v128.store16Lane(stream.at, stored, lanes - 1, offset + (lanes - 1) * HALF));
}
