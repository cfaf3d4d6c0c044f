import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { LocalgradError } from "../base/errors.ts";
import { open } from "../runtime/devices.ts";
import { jit } from "../runtime/jit.ts";
import { conv2d, where } from "../trace/functions.ts";
import type { Tensor } from "../trace/tensor.ts";
import { checkpoint, customGradient, grad, valueAndGrad, vjp } from "./grad.ts";

/** Runs `f` on the reference backend and reads its only result; checks that it leaves no array behind. */
async function evaluate(f: (...args: Tensor[]) => Tensor, ...inputs: number[][]): Promise<number[]> {
  await using device = await open("reference");
  const arrays = inputs.map((input) => device.array(input));
  using result = jit(f, { device })(...arrays);
  const values = [...await result.read()];
  arrays.forEach((array) => array.dispose());
  result.dispose();
  assertEquals(device.liveArrays, 0);
  return values;
}

Deno.test("grad() of a polynomial is its derivative, to any order", async () => {
  const cube = (x: Tensor) => x.mul(x).mul(x).sum();
  assertEquals(await evaluate(grad(cube), [1, 2, -3]), [3, 12, 27]);
  assertEquals(await evaluate(grad((x: Tensor) => grad(cube)(x).sum()), [1, 2, -3]), [6, 12, -18]);
  const third = grad((x: Tensor) => grad((x: Tensor) => grad(cube)(x).sum())(x).sum());
  assertEquals(await evaluate(third, [1, 2, -3]), [6, 6, 6]);
});

Deno.test("grad() treats values computed outside of the function as constants, its argument included", async () => {
  const outer = (x: Tensor) => grad((y: Tensor) => y.mul(x).sum())(x);
  assertEquals(await evaluate(outer, [5, 7]), [5, 7]); // and not 2x
});

Deno.test("grad() differentiates a closure when the outer gradient asks for it", async () => {
  // d/dx Σ (d/dy Σ y²x at y = x) = d/dx Σ 2x² = 4x
  const inner = (x: Tensor) => grad((y: Tensor) => y.mul(y).mul(x).sum())(x).sum();
  assertEquals(await evaluate(grad(inner), [1, 3]), [4, 12]);
});

Deno.test("stopGradient() lets no gradient through but keeps the value", async () => {
  assertEquals(await evaluate(grad((x: Tensor) => x.stopGradient().mul(x).sum()), [2, 3]), [2, 3]);
  assertEquals(await evaluate(grad((x: Tensor) => x.stopGradient().sum()), [2, 3]), [0, 0]);
});

Deno.test("relu() has gradient 0 at 0 and the mask of its result", async () => {
  assertEquals(await evaluate(grad((x: Tensor) => x.relu().sum()), [-1, 0, 2]), [0, 0, 1]);
});

Deno.test("max() shares its gradient among ties", async () => {
  assertEquals(await evaluate(grad((x: Tensor) => x.max()), [1, 4, 4]), [0, 0.5, 0.5]);
});

Deno.test("where() sends each element's gradient to the branch it came from", async () => {
  const f = (x: Tensor) => where(x.gt(0), x.mul(3), x.mul(5)).sum();
  assertEquals(await evaluate(grad(f), [-1, 1]), [5, 3]);
});

Deno.test("valueAndGrad() passes auxiliary results through and returns a tree of gradients", async () => {
  await using device = await open("reference");
  interface Params {
    w: Tensor;
    b: Tensor[];
  }
  const f = jit((p: Params) => {
    const [[loss, aux], grads] = valueAndGrad(
      (p: Params) => [p.w.mul(p.b[0]).sum(), p.w.add(1)] as const,
      { aux: true },
    )(p);
    return { loss, aux, grads };
  }, { device });
  const params = { w: device.array([1, 2]), b: [device.array([3, 4]), device.array([9])] };
  const { loss, aux, grads } = f(params);
  assertEquals([...await loss.read()], [11]);
  assertEquals([...await aux.read()], [2, 3]);
  assertEquals([...await grads.w.read()], [3, 4]);
  assertEquals([...await grads.b[0].read()], [1, 2]);
  assertEquals([...await grads.b[1].read()], [0]); // unused
});

Deno.test("valueAndGrad() refuses anything but a scalar, and names what it got", async () => {
  await using device = await open("reference");
  using x = device.array([1, 2]);
  assertThrows(
    () => jit((x: Tensor) => grad((x: Tensor) => x.mul(2))(x), { device })(x),
    LocalgradError,
    "f32[2]",
  );
});

Deno.test("gradients refuse trees with other leaves than tensors, by the name of the function", async () => {
  await using device = await open("reference");
  using x = device.array([1, 2]);
  const scale = (x: Tensor, by: number) => x.mul(by).sum();
  const cases: [(x: Tensor) => Tensor, string][] = [
    [(x) => grad((p: { x: Tensor; by: number }) => scale(p.x, p.by))({ x, by: 2 }).x, "valueAndGrad takes"],
    [(x) => vjp(scale, x, 2)[0], "vjp takes tensors of a traced function, not 2"],
    [(x) => vjp((x: Tensor) => [scale(x, 2), 2] as const, x)[0][0], "vjp: the result takes tensors"],
    [(x) => checkpoint(scale)(x, 2), "checkpoint takes tensors of a traced function, not 2"],
  ];
  for (const [f, says] of cases) assertThrows(() => jit(f, { device })(x), LocalgradError, says);
});

Deno.test("vjp() maps cotangents of several results to cotangents of several arguments", async () => {
  const f = (x: Tensor, y: Tensor) => {
    const [[product], pull] = vjp((a: Tensor, b: Tensor) => [a.mul(b), a.add(b)] as const, x, y);
    const [da] = pull([product, x]); // cotangents xy and x: da = xy·y + x
    return da;
  };
  assertEquals(await evaluate(f, [2, 3], [5, 7]), [52, 150]);
});

Deno.test("checkpoint() changes no values or gradients, nor those of closures or of second order", async () => {
  const body = (x: Tensor, w: Tensor) => x.mul(w).tanh().mul(w).exp();
  const plain = (x: Tensor, w: Tensor) => grad((w: Tensor) => body(body(x, w), w).sum())(w);
  const checkpointed = (x: Tensor, w: Tensor) =>
    grad((w: Tensor) => checkpoint((y: Tensor) => body(y, w))(checkpoint(body)(x, w)).sum())(w);
  const args: [number[], number[]] = [[0.3, -0.2], [0.5, 0.7]];
  const expected = await evaluate(plain, ...args);
  const got = await evaluate(checkpointed, ...args);
  expected.forEach((value, i) => assertAlmostEquals(got[i], value, 1e-6));
  const second = (f: typeof plain) => (x: Tensor, w: Tensor) => grad((w: Tensor) => f(x, w).sum())(w);
  const expected2 = await evaluate(second(plain), ...args);
  const got2 = await evaluate(second(checkpointed), ...args);
  expected2.forEach((value, i) => assertAlmostEquals(got2[i], value, 1e-5));
});

Deno.test("checkpoint() lowers the planned peak of a deep chain", async () => {
  await using device = await open("reference");
  const layer = (x: Tensor, w: Tensor) =>
    conv2d(conv2d(conv2d(x, w, { padding: 1 }).tanh(), w, { padding: 1 }).tanh(), w, { padding: 1 }).tanh();
  const peak = (wrap: (f: typeof layer) => typeof layer) => {
    const f = jit((x: Tensor, w: Tensor) =>
      grad((w: Tensor) => {
        let y = x;
        for (let i = 0; i < 6; i++) y = wrap(layer)(y, w);
        return y.sum();
      })(w), { device });
    const image = { shape: [4, 16, 16, 8], dtype: "f32" } as const;
    return f.plan(device.backend.target, image, { shape: [8, 3, 3, 8], dtype: "f32" }).arenaBytes;
  };
  assert(peak(checkpoint) < 0.7 * peak((f) => f), `${peak(checkpoint)} and ${peak((f) => f)} bytes`);
});

Deno.test("customGradient() uses the rule at first order and the instructions for a gradient of a gradient", async () => {
  let used = 0;
  const square = (x: Tensor) =>
    customGradient([x], (x) => {
      const half = x.mul(0.5);
      return {
        outputs: [half.mul(x).mul(2)],
        rule: ([ct]) => {
          used++;
          return [ct!.mul(half).mul(4)]; // reads what the body computed
        },
      };
    })[0].sum();
  assertEquals(await evaluate(grad(square), [3, 4]), [6, 8]);
  assertEquals(used, 1);
  assertEquals(await evaluate(grad((x: Tensor) => grad(square)(x).mul(x).sum()), [3, 4]), [12, 16]);
});
