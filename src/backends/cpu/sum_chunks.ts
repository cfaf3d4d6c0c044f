import { i32 } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { Launch, Operand } from "./routine.ts";
import { LANES, storeColumns, WORD } from "./tile.ts";

/** Result vectors of a task. */
const TASK_VECTORS = 1024;

/** Adds `chunks` contiguous partial results of `size` elements each, in order. */
export function sumChunks(chunks: number, size: number, partial: Operand, result: Operand): Launch {
  const vectors = Math.ceil(size / LANES);
  const tasks = Math.ceil(vectors / TASK_VECTORS);
  return {
    operands: [partial, result],
    routine: {
      key: `sumChunks ${chunks},${size}`,
      tasks,
      scratch: 0,
      operands: 2,
      build({ f, operands: [from, to], task }) {
        const first = f.int(i32.mul(task, TASK_VECTORS * 16));
        const end = f.int(i32.min(i32.add(first, TASK_VECTORS * 16), (size & -LANES) * WORD));
        const at = f.int(first);
        const chunk = f.int(0);
        const address = f.int(0);
        const sum = f.local("v128");
        const total = () => {
          f.set(address, i32.add(from, at));
          f.set(sum, v128.load(address));
          f.for(chunk, 1, chunks, 1, () => {
            f.increment(address, size * WORD);
            f.set(sum, f32x4.add(sum, v128.load(address)));
          });
          f.set(address, i32.add(to, at));
        };
        f.while(i32.ltS(at, end), () => {
          total();
          f.do(v128.store(address, sum));
          f.increment(at, 16);
        });
        if (size % LANES !== 0) {
          f.if(i32.eq(task, tasks - 1), () => {
            total();
            storeColumns(f, address, 0, [sum], size % LANES);
          });
        }
      },
    },
  };
}
