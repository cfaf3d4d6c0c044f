/** Tensors and device arrays as text, in operators, and in errors of lack of memory. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { inspect } from "node:util";
import { devices, jit, LocalgradError, type Tensor } from "../mod.ts";

// deno-lint-ignore no-explicit-any -- operators that the types refuse are the point
type Any = any;

Deno.test("tensors print their name, dtype and shape", async () => {
  await using device = await devices.open("reference");
  const seen: string[] = [];
  const f = jit((x: { w: Tensor }) => {
    const y = x.w.add(1);
    seen.push(`${x.w}`, Deno.inspect(x.w), inspect(x.w), x.w.toString(), `${[y]}`, Deno.inspect({ y }));
    return y;
  }, { device });
  f({ w: new Float32Array(6) }).dispose();
  const named = 'Tensor "0.w" f32[6]';
  assertEquals(seen, [named, named, named, named, "Tensor f32[6]", "{ y: Tensor f32[6] }"]);
});

Deno.test("device arrays and devices print on one line", async () => {
  const device = await devices.open("reference");
  const x = device.zeros([2, 3], "i32");
  assertEquals([`${x}`, Deno.inspect(x), inspect(x)], new Array(3).fill("DeviceArray i32[2,3] on reference"));
  x.dispose();
  assertEquals(`${x}`, "DeviceArray i32[2,3] on reference, disposed");
  assert(Deno.inspect(device).startsWith("Device reference"));
  await device.close();
});

Deno.test("operators on tensors and device arrays are refused, with the method to call", async () => {
  await using device = await devices.open("reference");
  using array = device.array([1, 2]);
  const operators: [(a: Any, b: Any) => unknown, string][] = [
    [(a, b) => a + b, "a.add(b)"],
    [(a) => a + 1, "a.add(b)"],
    [(a) => a == 1, "a.eq(b)"],
    [(a, b) => a - b, "a.sub(b)"],
    [(a, b) => a * b, "a.mul(b)"],
    [(a) => 2 / a, "a.div(b)"],
    [(a) => a ** 2, "a.pow(b)"],
    [(a) => -a, "a.neg()"],
    [(a, b) => a < b, "a.lt(b)"],
    [(a) => a >= 0, "a.ge(b)"],
  ];
  for (const [operator, method] of operators) {
    const traced = jit((a: Tensor, b: Tensor) => (operator(a, b), a), { device });
    const error = assertThrows(() => traced(array, array), LocalgradError, method);
    assert(error.message.startsWith('operators do not work on Tensor "0" f32[2]'), error.message);
    assert(error.message.includes("printing_test.ts"), error.message);
    assertThrows(() => operator(array, array), LocalgradError, method);
    assertThrows(() => operator(array, array), LocalgradError, "within jit(…)");
  }
});

Deno.test("an array that a traced function reads from outside is named, with what to do", async () => {
  await using device = await devices.open("reference");
  using x = device.array([1, 2]);
  using w = device.zeros([2, 5]);
  const captured = jit((x: Tensor) => x.matmul(w as Any), { device });
  const error = assertThrows(() => captured(x), LocalgradError);
  const wanted =
    "matmul: the traced function reads the DeviceArray f32[2,5] from outside; pass it as an argument";
  assert(error.message.startsWith(wanted) && error.message.includes("printing_test.ts"), error.message);
  const returned = jit((_: Tensor) => w as Any, { device, name: "f" });
  assertThrows(() => returned(x), LocalgradError, "f: its result is the DeviceArray f32[2,5], from outside");
});

Deno.test("lack of memory says how many arrays are alive, and which are the oldest", async () => {
  await using device = await devices.open("cpu", { threads: 1 });
  using _first = device.zeros([8, 4]);
  device.zeros([1]).dispose();
  const forgotten = Array.from({ length: 3 }, () => device.zeros([1024, 1024], "i32"));
  const tooMany = () => device.zeros([2 ** 30]);
  const error = assertThrows(tooMany, LocalgradError, "4 arrays are alive on this device, 12.0 MiB in all");
  assertEquals(error.code, "tooLarge");
  const oldest = "the oldest of 5 made: f32[8,4] (no. 1), i32[1024,1024] (no. 3), i32[1024,1024] (no. 4), ";
  assert(error.message.includes(oldest), error.message);
  for (const array of forgotten) array.dispose();
  await assertRejects(async () => await device.zeros([2 ** 30]).read(), LocalgradError, "1 array is alive");
});
