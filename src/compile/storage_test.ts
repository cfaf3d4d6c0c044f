import { assert, assertEquals } from "@std/assert";
import { type Program, ProgramBuilder, type ValueId } from "../trace/program.ts";
import { Storage } from "./storage.ts";

const shape = [4, 8, 8, 8];
const filter = [8, 1, 1, 8];
const attrs = { strides: [1, 1], padding: [[0, 0], [0, 0]], dilation: [1, 1], groups: 1 } as const;

/** A program under construction with an image, a filter and short names for ops. */
class Sketch {
  readonly b = new ProgramBuilder();
  readonly x = this.b.input({ shape, dtype: "f32" }, "x");
  readonly w = this.b.input({ shape: filter, dtype: "f32" }, "w");

  conv(x: ValueId): ValueId {
    return this.b.emit("conv", [x, this.w], attrs);
  }
  mul(a: ValueId, b: ValueId): ValueId {
    return this.b.emit("binary", [a, b], { fn: "mul" });
  }
  add(a: ValueId, b: ValueId): ValueId {
    return this.b.emit("binary", [a, b], { fn: "add" });
  }
  exp(a: ValueId): ValueId {
    return this.b.emit("unary", [a], { fn: "exp" });
  }
  sum(a: ValueId): ValueId {
    return this.b.emit("reduce", [a], { fn: "sum", axes: [0, 1, 2] });
  }
  /** A value per channel, over the whole image. */
  spread(a: ValueId): ValueId {
    const unit = this.b.emit("reshape", [a], { shape: [1, 1, 1, 8] });
    return this.b.emit("broadcast", [unit], { shape });
  }
  finish(...results: ValueId[]): Program {
    return this.b.finish("sketch", results.map((value) => ({ value, name: "" })));
  }
}

Deno.test("Storage does not store values that only one kernel uses", () => {
  const s = new Sketch();
  const inner = s.exp(s.mul(s.x, s.x));
  const storage = new Storage(s.finish(s.conv(s.exp(inner))), 8);
  assert(!storage.has(inner));
});

Deno.test("Storage recomputes from one operand rather than storing a second value", () => {
  const s = new Sketch();
  const x = s.conv(s.x);
  const normal = s.exp(x);
  const early = s.conv(s.mul(normal, x));
  const late = s.sum(s.mul(normal, s.conv(early)));
  const storage = new Storage(s.finish(late), 8);
  assert(!storage.has(normal));
});

Deno.test("Storage stores a product of two operands that three kernels use", () => {
  const s = new Sketch();
  const product = s.mul(s.conv(s.x), s.conv(s.exp(s.x)));
  const storage = new Storage(s.finish(s.sum(product), s.exp(product), s.conv(s.exp(s.exp(product)))), 8);
  assert(storage.has(product));
});

Deno.test("Storage stores a product that is used late rather than keeping both operands live", () => {
  const s = new Sketch();
  const product = s.mul(s.conv(s.x), s.conv(s.exp(s.x)));
  let late = s.x;
  for (let i = 0; i < 4; i++) late = s.conv(late);
  const storage = new Storage(s.finish(s.sum(s.mul(product, late))), 8);
  assert(storage.has(product));
});

Deno.test("Storage keeps both operands live if nothing is allocated before the product is used", () => {
  const s = new Sketch();
  const [a, b] = [s.conv(s.x), s.conv(s.exp(s.x))];
  const product = s.mul(a, b);
  const storage = new Storage(s.finish(s.sum(s.exp(product))), 8);
  assert(!storage.has(product));
});

Deno.test("Storage stores small arithmetic that is broadcast over a large space, but not a single operation", () => {
  const s = new Sketch();
  const perChannel = s.sum(s.x);
  const one = s.exp(perChannel);
  const two = s.exp(s.exp(s.exp(perChannel)));
  const storage = new Storage(s.finish(s.conv(s.add(s.add(s.x, s.spread(one)), s.spread(two)))), 8);
  assert(!storage.has(one));
  assert(storage.has(two));
});

Deno.test("Storage does not count conversions between floats, so bf16 is stored where f32 is", () => {
  const s = new Sketch();
  const perChannel = s.sum(s.x);
  const cast = (a: ValueId, dtype: "f32" | "bf16" | "i32") => s.b.emit("cast", [a], { dtype });
  const rounded = cast(s.exp(cast(cast(perChannel, "bf16"), "f32")), "bf16");
  const whole = cast(cast(s.exp(perChannel), "i32"), "f32");
  const wide = s.add(s.add(s.x, cast(s.spread(rounded), "f32")), s.spread(whole));
  const storage = new Storage(s.finish(s.conv(wide)), 8);
  assertEquals([rounded, whole].map((value) => storage.has(value)), [false, true]);
});

Deno.test("Storage does not read a donated input after it is to be written over", () => {
  const b = new ProgramBuilder();
  const p = b.input({ shape: [64], dtype: "f32" }, "p", "parameters", true);
  const early = b.emit("unary", [p], { fn: "exp" });
  const next = b.emit("unary", [p], { fn: "neg" });
  const late = b.emit("reduce", [b.emit("binary", [early, next], { fn: "mul" })], { fn: "sum", axes: [0] });
  const outputs = [{ value: next, name: "next", donor: 0 }, { value: late, name: "late" }];
  const storage = new Storage(b.finish("donation", outputs), 8);
  assert(storage.has(early));
});

Deno.test("Storage sees through views, and stores the operand of a barrier", () => {
  const s = new Sketch();
  const kept = s.exp(s.x);
  const apart = s.b.emit("barrier", [kept], {});
  const flat = s.b.emit("reshape", [apart], { shape: [4 * 8 * 8, 8] });
  const product = s.b.emit("matmul", [flat, flat], { transposeA: true, transposeB: false });
  const storage = new Storage(s.finish(product), 8);
  assert(storage.has(kept));
  assertEquals([storage.base(apart), storage.base(flat)], [kept, kept]);
});
