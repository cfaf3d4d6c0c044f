import { type I32, i32, type V128, v128 } from "./wasm/expressions.ts";
import type { FunctionBuilder, Local } from "./wasm/module.ts";
import { LANES, WORD } from "./tile.ts";

/** Copies `count` words, vectors first. */
export function copyWords(f: FunctionBuilder, source: I32, target: I32, count: I32): void {
  const from = f.int(source);
  const to = f.int(target);
  const end = f.int(i32.add(to, i32.mul(count, WORD)));
  const last = f.int(i32.add(to, i32.mul(i32.and(count, -LANES), WORD)));
  f.while(i32.ltU(to, last), () => {
    f.do(v128.store(to, v128.load(from)));
    f.increment(from, 16);
    f.increment(to, 16);
  });
  f.while(i32.ltU(to, end), () => {
    f.do(i32.store(to, i32.load(from)));
    f.increment(from, WORD);
    f.increment(to, WORD);
  });
}

const words = (...picks: number[]): number[] =>
  picks.flatMap((word) => [0, 1, 2, 3].map((b) => word * 4 + b));

/** The transpose of four vectors taken as rows of a 4 × 4 matrix. */
export function transposeSquare(f: FunctionBuilder, rows: readonly V128[]): Local<"v128">[] {
  const [a, b, c, d] = rows.map((row) => f.local("v128", row));
  const low = (x: V128, y: V128) => f.local("v128", v128.shuffle(x, y, words(0, 4, 1, 5)));
  const high = (x: V128, y: V128) => f.local("v128", v128.shuffle(x, y, words(2, 6, 3, 7)));
  const [ac0, ac1, bd0, bd1] = [low(a, c), high(a, c), low(b, d), high(b, d)];
  return [low(ac0, bd0), high(ac0, bd0), low(ac1, bd1), high(ac1, bd1)];
}
