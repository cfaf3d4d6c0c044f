import { assert, assertEquals, assertThrows } from "@std/assert";
import { Bytes } from "./bytes.ts";
import { f32, i32, i64, int } from "./scalars.ts";
import { f32x4, i32x4, v128 } from "./vectors.ts";
import type { FunctionBuilder } from "./function.ts";
import { ModuleBuilder } from "./module.ts";

type Exports = Record<string, (...args: number[]) => number>;

function instantiate(module: ModuleBuilder): { exports: Exports; memory: WebAssembly.Memory } {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const code = new WebAssembly.Module(module.finish(1, 1));
  return { exports: new WebAssembly.Instance(code, { env: { memory } }).exports as Exports, memory };
}

/** A function of i32 parameters to an i32, run on the given arguments. */
function run(args: readonly number[], build: (f: FunctionBuilder) => void): number {
  const module = new ModuleBuilder();
  module.function(args.map(() => "i32" as const), ["i32"], build, "main");
  return instantiate(module).exports["main"](...args);
}

Deno.test("Bytes writes LEB128 as in the format's examples", () => {
  const bytes = new Bytes();
  bytes.unsigned(624485);
  bytes.signed(-123456);
  bytes.signed64(-123456n);
  bytes.signed(64);
  bytes.signed64(-64n);
  bytes.unsigned(0xffffffff);
  assertEquals([...bytes.finish()], [
    ...[0xe5, 0x8e, 0x26],
    ...[0xc0, 0xbb, 0x78],
    ...[0xc0, 0xbb, 0x78],
    ...[0xc0, 0x00],
    ...[0x40],
    ...[0xff, 0xff, 0xff, 0xff, 0x0f],
  ]);
});

Deno.test("Bytes grows past its first buffer without losing anything", () => {
  const bytes = new Bytes();
  const expected: number[] = [];
  for (let i = 0; i < 3000; i++) {
    bytes.byte(i & 0xff);
    bytes.append([i & 0x7f, 1, 2]);
    expected.push(i & 0xff, i & 0x7f, 1, 2);
  }
  assertEquals([...bytes.finish()], expected);
});

Deno.test("i32 literals of every size survive encoding", () => {
  for (const value of [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 2 ** 31 - 1, -(2 ** 31)]) {
    assertEquals(run([], (f) => f.return(int(value))), value);
  }
});

Deno.test("folded arithmetic equals the machine's", () => {
  const pairs = [[7, 3], [-7, 3], [2 ** 31 - 1, 2], [-(2 ** 31), 5], [12, 33], [-1, 1]];
  const operators = [
    i32.add,
    i32.sub,
    i32.mul,
    i32.divS,
    i32.divU,
    i32.remS,
    i32.remU,
    i32.and,
    i32.or,
    i32.xor,
  ];
  const comparisons = [i32.eq, i32.ne, i32.ltS, i32.ltU, i32.gtS, i32.gtU, i32.leS, i32.geS, i32.geU];
  for (const operator of [...operators, ...comparisons, i32.shl, i32.shrS, i32.shrU]) {
    for (const [a, b] of pairs) {
      const folded = operator(a, b);
      assert(folded.known !== undefined);
      const computed = run([a, b], (f) => f.return(operator(f.parameter(0), f.parameter(1))));
      assertEquals(folded.known, computed, `${operator} of ${a} and ${b}`);
    }
  }
});

Deno.test("for() counts up to its bound, by steps, and runs no iteration of an empty range", () => {
  const count = (from: number, to: number, step: number) =>
    run([from, to], (f) => {
      const [i, turns] = [f.int(0), f.int(0)];
      f.for(i, f.parameter(0), f.parameter(1), step, () => f.increment(turns, 1));
      f.return(turns);
    });
  const known = (from: number, to: number, step: number) =>
    run([], (f) => {
      const [i, turns] = [f.int(0), f.int(0)];
      f.for(i, from, to, step, () => f.increment(turns, 1));
      f.return(turns);
    });
  for (
    const [from, to, step, turns] of [[0, 10, 1, 10], [0, 10, 3, 4], [5, 5, 1, 0], [6, 5, 1, 0], [0, 1, 1, 1]]
  ) {
    assertEquals(count(from, to, step), turns);
    assertEquals(known(from, to, step), turns);
  }
});

Deno.test("if() and while() take the right branch", () => {
  const collatz = (n: number) =>
    run([n], (f) => {
      const [x, steps] = [f.parameter(0), f.int(0)];
      f.while(i32.ne(x, 1), () => {
        f.if(
          i32.and(x, 1),
          () => f.set(x, i32.add(i32.mul(x, 3), 1)),
          () => f.set(x, i32.shrU(x, 1)),
        );
        f.increment(steps, 1);
      });
      f.return(steps);
    });
  assertEquals([1, 6, 27].map(collatz), [0, 8, 111]);
});

Deno.test("branch() leaves the block it names, from within others", () => {
  const left = run([], (f) => {
    const depth = f.int(0);
    f.block((outer) => {
      f.block(() => {
        f.loop(() => {
          f.increment(depth, 1);
          f.branch(outer);
        });
        f.set(depth, int(100));
      });
      f.set(depth, int(200));
    });
    f.return(depth);
  });
  assertEquals(left, 1);
});

Deno.test("callIndirect() calls the table's entries", () => {
  const module = new ModuleBuilder();
  const type = module.type(["i32"], []);
  for (const value of [11, 22, 33]) {
    module.tableEntry(module.function(["i32"], [], (f) => f.do(i32.store(f.parameter(0), value))));
  }
  module.function(["i32"], ["i32"], (f) => {
    f.callIndirect(type, f.parameter(0), int(64));
    f.return(i32.load(int(64)));
  }, "main");
  const { exports } = instantiate(module);
  assertEquals([0, 1, 2].map((entry) => exports["main"](entry)), [11, 22, 33]);
  assertThrows(() => exports["main"](3), WebAssembly.RuntimeError);
});

Deno.test("vector constants, lanes and shuffles treat vectors as four words", () => {
  const module = new ModuleBuilder();
  module.function([], [], (f) => {
    const at = int(0);
    const words = f.constant(i32x4.constant(1, 2, 3, 4));
    const again = f.constant(i32x4.constant(1, 2, 3, 4));
    assertEquals(words.index, again.index);
    f.do(v128.store(at, i32x4.withLane(words, 2, i32x4.lane(again, 3))));
    f.do(
      v128.store(at, f32x4.madd(f32x4.constant(2), f32x4.constant(3), f32x4.splat(f32.constant(0.5))), 16),
    );
    const turned = [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11];
    f.do(v128.store(at, v128.shuffle(words, words, turned), 32));
    f.do(v128.store32Lane(at, words, 3, 48));
  }, "main");
  const { exports, memory } = instantiate(module);
  exports["main"]();
  assertEquals([...new Int32Array(memory.buffer, 0, 4)], [1, 2, 4, 4]);
  assertEquals([...new Float32Array(memory.buffer, 16, 4)], [6.5, 6.5, 6.5, 6.5]);
  assertEquals([...new Int32Array(memory.buffer, 32, 5)], [2, 1, 4, 3, 4]);
});

Deno.test("i64.atomicAdd() carries from the low word into the high one", () => {
  const module = new ModuleBuilder();
  module.function([], [], (f) => {
    const at = int(8);
    f.do(i64.atomicStore(at, i64.constant(0x1_ffff_ffffn)));
    f.drop(i64.atomicAdd(at, i64.constant(1n)));
  }, "main");
  const { exports, memory } = instantiate(module);
  exports["main"]();
  assertEquals([...new Uint32Array(memory.buffer, 8, 2)], [0, 2]);
});
