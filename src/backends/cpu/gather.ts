import { type Aval, sizeOf } from "../../trace/dtype.ts";
import type { I32 } from "./wasm/expressions.ts";
import { f32, i32, int } from "./wasm/scalars.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { copyHalves, copyWords } from "./blocks.ts";
import type { Launch, Operand } from "./routine.ts";
import { HALF, WORD } from "./tile.ts";

/** The approximate number of elements that a task moves. */
const TASK_ELEMENTS = 16384;

/** The row of an index, clamped into range. */
export function rowOf(f: FunctionBuilder, indices: Aval, address: I32, rows: number): Local<"i32"> {
  const index = f.int(i32.load(address));
  const last = rows - 1;
  if (indices.dtype === "i32") f.set(index, i32.max(0, i32.min(index, last)));
  else f.set(index, i32.select(last, index, i32.gtU(index, last)));
  return index;
}

/** `gather(operand, indices)`. */
export function gather(operand: Aval, indices: Aval, from: Operand, at: Operand, to: Operand): Launch {
  const rows = operand.shape[0];
  const width = sizeOf(operand.shape.slice(1));
  const positions = sizeOf(indices.shape);
  const bytes = operand.dtype === "u8";
  const [size, copy] = operand.dtype === "bf16" ? [HALF, copyHalves] as const : [WORD, copyWords] as const;
  const taskPositions = Math.max(1, Math.floor(TASK_ELEMENTS / Math.max(1, width)));
  return {
    operands: [from, at, to],
    routine: {
      key: `gather ${[rows, width, positions, operand.dtype, indices.dtype].join()}`,
      tasks: width === 0 ? 0 : Math.ceil(positions / taskPositions),
      operands: 3,
      scratch: 0,
      build({ f, operands: [source, index, target], task }) {
        const position = f.int(i32.mul(task, taskPositions));
        const end = f.int(i32.min(i32.add(position, taskPositions), positions));
        f.while(i32.ltU(position, end), () => {
          const row = rowOf(f, indices, i32.add(index, i32.mul(position, WORD)), rows);
          const out = f.int(i32.add(target, i32.mul(position, width * size)));
          if (!bytes) copy(f, i32.add(source, i32.mul(row, width * size)), out, int(width));
          else {
            const p = f.int(i32.add(source, i32.mul(row, width)));
            const last = f.int(i32.add(p, width));
            f.while(i32.ltU(p, last), () => {
              f.do(f32.store(out, f32.fromI32U(i32.load8u(p))));
              f.increment(p, 1);
              f.increment(out, WORD);
            });
          }
          f.increment(position, 1);
        });
      },
    },
  };
}
