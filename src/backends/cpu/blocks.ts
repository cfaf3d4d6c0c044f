import type { I32, Int, V128 } from "./wasm/expressions.ts";
import { i32 } from "./wasm/scalars.ts";
import { v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { HALF, LANES, TILE_COLUMNS, WORD } from "./tile.ts";

/** Copies `count` words, vectors first. */
export function copyWords(f: FunctionBuilder, source: I32, target: I32, count: I32): void {
  copy(f, source, target, count, WORD, i32);
}

/** Copies `count` halves of words, vectors first. */
export function copyHalves(f: FunctionBuilder, source: I32, target: I32, count: I32): void {
  copy(f, source, target, count, HALF, { load: i32.load16u, store: i32.store16 });
}

/** Copies `count` elements of `size` bytes. */
function copy(
  f: FunctionBuilder,
  source: I32,
  target: I32,
  count: I32,
  size: number,
  element: Pick<typeof i32, "load" | "store">,
): void {
  const from = f.int(source);
  const to = f.int(target);
  const end = f.int(i32.add(to, i32.mul(count, size)));
  const last = f.int(i32.add(to, i32.and(i32.mul(count, size), -16)));
  f.while(i32.ltU(to, last), () => {
    f.do(v128.store(to, v128.load(from)));
    f.increment(from, 16);
    f.increment(to, 16);
  });
  f.while(i32.ltU(to, end), () => {
    f.do(element.store(to, element.load(from)));
    f.increment(from, size);
    f.increment(to, size);
  });
}

const words = (...picks: number[]): number[] =>
  picks.flatMap((word) => [0, 1, 2, 3].map((b) => word * 4 + b));

/** Transposes a 4 × 4 matrix, given as the vectors of its rows. */
export function transposeSquare(f: FunctionBuilder, rows: readonly V128[]): Local<"v128">[] {
  const [a, b, c, d] = rows.map((row) => f.local("v128", row));
  const low = (x: V128, y: V128) => f.local("v128", v128.shuffle(x, y, words(0, 4, 1, 5)));
  const high = (x: V128, y: V128) => f.local("v128", v128.shuffle(x, y, words(2, 6, 3, 7)));
  const [ac0, ac1, bd0, bd1] = [low(a, c), high(a, c), low(b, d), high(b, d)];
  return [low(ac0, bd0), high(ac0, bd0), low(ac1, bd1), high(ac1, bd1)];
}

/**
 * Packs up to eight rows of a matrix, each `pitch` elements apart, into a panel `[depth][8]` whose column c is row c.
 * Columns from `width` on are not written.
 */
export function packTransposed(
  f: FunctionBuilder,
  matrix: I32,
  pitch: number,
  panel: I32,
  depth: I32,
  width: I32,
): void {
  const source = f.int(matrix);
  const target = f.int(panel);
  const rowBytes = pitch * WORD;
  const panelRow = TILE_COLUMNS * WORD;
  const end = f.int(i32.add(target, i32.mul(depth, panelRow)));
  f.if(i32.eq(width, TILE_COLUMNS), () => {
    const blocked = f.int(i32.add(target, i32.mul(i32.and(depth, -LANES), panelRow)));
    f.while(i32.ltU(target, blocked), () => {
      for (let half = 0; half < TILE_COLUMNS; half += LANES) {
        const rows = Array.from({ length: LANES }, (_, r) => v128.load(source, (half + r) * rowBytes));
        transposeSquare(f, rows).forEach((vector, r) =>
          f.do(v128.store(target, vector, r * panelRow + half * WORD))
        );
      }
      f.increment(source, LANES * WORD);
      f.increment(target, LANES * panelRow);
    });
  });
  // The rest: rows beyond a multiple of four, or all of a narrow panel.
  const column = f.int(0);
  const columns = f.int(width);
  f.while(i32.ltU(target, end), () => {
    f.for(column, 0, columns, 1, () =>
      f.do(i32.store(
        i32.add(target, i32.mul(column, WORD)),
        i32.load(i32.add(source, i32.mul(column, rowBytes))),
      )));
    f.increment(source, WORD);
    f.increment(target, panelRow);
  });
}

/**
 * Runs `body` for every four channels from `from` to `to` (multiples of four, or `channels`), and for the rest of
 * `channels` at the end. `offset` is the byte offset of the first of them.
 */
export function channelVectors(
  f: FunctionBuilder,
  channels: number,
  from: Int,
  to: Int,
  body: (offset: Local<"i32">, lanes: number) => void,
): void {
  const rest = channels % LANES;
  const channel = f.int(from);
  const end = f.int(to);
  const whole = f.int(i32.min(end, channels - rest));
  const offset = f.int(0);
  const run = (lanes: number) => {
    f.set(offset, i32.mul(channel, WORD));
    body(offset, lanes);
    f.increment(channel, LANES);
  };
  f.while(i32.ltS(channel, whole), () => run(LANES));
  if (rest > 0) f.if(i32.ltS(channel, end), () => run(rest));
}
