import type { I32, I64 } from "./wasm/expressions.ts";
import { i32, i64, int } from "./wasm/scalars.ts";
import type { FunctionBuilder, FunctionHandle, Local } from "./wasm/function.ts";
import { ModuleBuilder } from "./wasm/module.ts";
import { memoryLimits } from "./memory.ts";
import { words } from "./threads.ts";
import type { Routine, RoutineContext } from "./routine.ts";

/** Spins on the ticket before a waiting thread sleeps: some tens of microseconds. */
const SPINS = 20_000;
/** Bytes from a part's ticket to the next: a cache line. */
const TICKET_BYTES = 64;
/** The longest sleep, so that a waiting thread notices the failure of another. */
const SLEEP_NANOSECONDS = 1_000_000n;

/** The low word of a ticket without tasks; with n tasks left it is {@link EXHAUSTED} − n. */
const EXHAUSTED = 0x80000000 | 0;

/** Byte offsets in a launch record: table entry, number of tasks, then (slot address, byte offset) pairs. */
export const record = { entry: 0, tasks: 4, operands: 8, operandBytes: 8 } as const;

const at = (word: number): number => word * 4;
const zero: I32 = int(0);

/**
 * Writes `work`: every thread calls it, and it returns when the plan is finished.
 *
 * The tasks of a step are divided into parts, one for each thread, so that a thread works on the same share of a batch in
 * every step and finds it in its own caches; a thread whose part is finished takes tasks of the others. Each part has a
 * ticket, a 64-bit word: the step in its high half, and in its low half a count that reaches 2³¹ when all of the part's
 * tasks are taken. Adding one to it takes a task: one atomic operation returns the step and whether a task was left. The
 * thread that finishes a step's last task writes the next step's tickets, that of part 0 last: it always has a task, so
 * nobody can finish the step before all its tickets are written.
 */
function writeWork(f: FunctionBuilder, routineType: number): void {
  const [steps, stepCount, scratch, thread] = [0, 1, 2, 3].map((index) => f.parameter(index));
  const [step, low, launch, tasks, spins, part, tried, address] = Array.from({ length: 8 }, () => f.int(0));
  const ticket = f.local("i64");
  const parts = f.int(i32.load(zero, at(words.parts)));
  const own = f.int(i32.remU(thread, parts));
  const addressOf = (index: I32) => i32.add(i32.mul(index, TICKET_BYTES), at(words.tickets));
  const published = () => i32.atomicLoad(zero, at(words.tickets + 1));
  const recordOf = (index: I32) => i32.load(i32.add(steps, i32.mul(index, 4)));
  /** The first task of a part. */
  const firstOf = (index: I32) => i32.divU(i32.add(i32.mul(index, tasks), i32.sub(parts, 1)), parts);
  const read = (value: I64) => {
    f.set(ticket, value);
    f.set(low, i32.wrap(ticket));
  };
  const advance = () => {
    f.do(i32.atomicStore(zero, 0, at(words.done)));
    f.increment(step, 1);
    f.set(tasks, zero);
    f.if(i32.ltU(step, stepCount), () => f.set(tasks, i32.load(recordOf(step), record.tasks)));
    f.set(part, parts);
    f.while(part, () => {
      f.increment(part, -1);
      const count = i32.sub(firstOf(i32.add(part, 1)), firstOf(part));
      f.do(i64.atomicStore(
        addressOf(part),
        i64.or(i64.shl(i64.fromI32(step), i64.constant(32n)), i64.fromI32(i32.sub(EXHAUSTED, count))),
      ));
    });
    f.if(
      i32.atomicLoad(zero, at(words.sleepers)),
      () => f.drop(i32.atomicNotify(zero, -1, at(words.tickets + 1))),
    );
  };
  const waitForStep = () => {
    f.set(spins, zero);
    f.while(i32.eq(published(), step), () => {
      f.if(i32.atomicLoad(zero, at(words.failed)), () => f.return());
      f.increment(spins, 1);
      f.if(i32.gtU(spins, SPINS), () => {
        f.drop(i32.atomicAdd(zero, 1, at(words.sleepers)));
        f.drop(i32.atomicWait(zero, step, SLEEP_NANOSECONDS, at(words.tickets + 1)));
        f.drop(i32.atomicAdd(zero, -1, at(words.sleepers)));
      });
    });
  };
  const runTask = () => {
    f.set(step, i32.wrap(i64.shrU(ticket, i64.constant(32n))));
    f.set(launch, recordOf(step));
    f.set(tasks, i32.load(launch, record.tasks));
    const task = i32.add(firstOf(i32.add(part, 1)), i32.sub(low, EXHAUSTED));
    f.callIndirect(routineType, i32.load(launch, record.entry), launch, task, scratch);
    f.if(i32.eq(i32.add(i32.atomicAdd(zero, 1, at(words.done)), 1), tasks), advance);
  };
  f.loop((again) => {
    f.set(step, published());
    f.set(part, own);
    f.set(tried, zero);
    f.while(i32.ltU(tried, parts), () => {
      f.set(address, addressOf(part));
      read(i64.atomicLoad(address)); // an addition to an exhausted ticket would only disturb its owner
      f.if(i32.geS(low, 0), () => {
        read(i64.atomicAdd(address, i64.constant(1n)));
        f.if(i32.geS(low, 0), () => {
          runTask();
          f.branch(again);
        });
      });
      f.increment(tried, 1);
      f.increment(part, 1);
      f.if(i32.eq(part, parts), () => f.set(part, zero));
    });
    f.if(i32.geU(step, stepCount), () => f.return());
    waitForStep();
    f.branch(again);
  });
}

/** The import that executes a primitive: its number, three addresses, and that of the thread's scratch memory. */
const EXECUTE = { name: "execute", parameters: ["i32", "i32", "i32", "i32", "i32"] } as const;

/** The WebAssembly module of a plan: its routines, in the table in the order given, and `work`. */
export function assemble(routines: readonly Routine[]): Uint8Array<ArrayBuffer> {
  const executes = routines.some(({ primitives = [] }) => primitives.length > 0);
  const module = new ModuleBuilder(executes ? [EXECUTE] : []);
  for (const routine of routines) module.tableEntry(writeRoutine(module, routine));
  const routineType = module.type(["i32", "i32", "i32"], []);
  module.function(["i32", "i32", "i32", "i32"], [], (f) => writeWork(f, routineType), "work");
  return module.finish(memoryLimits.initial, memoryLimits.maximum);
}

function writeRoutine(module: ModuleBuilder, routine: Routine): FunctionHandle {
  return module.function(["i32", "i32", "i32"], [], (f) => {
    const [launch, task, scratch] = [0, 1, 2].map((index) => f.parameter(index));
    const operands: Local<"i32">[] = [];
    for (let index = 0; index < routine.operands; index++) {
      const pair = record.operands + index * record.operandBytes;
      operands.push(f.int(i32.add(i32.load(i32.load(launch, pair)), i32.load(launch, pair + 4))));
    }
    const execute: RoutineContext["execute"] = ({ id }, a, b, c = zero, own = scratch) =>
      f.call({ index: 0 }, int(id), a, b, c, own);
    routine.build({ f, operands, task, scratch, execute });
  });
}
