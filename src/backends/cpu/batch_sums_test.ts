import { assertEquals } from "@std/assert";
import { Random } from "../../../tests/ops/random.ts";
import { open } from "../../runtime/devices.ts";
import { jit } from "../../runtime/jit.ts";
import { HostArray } from "../../trace/host_array.ts";
import type { Tensor } from "../../trace/tensor.ts";

/** Sums over images and positions. */
const sums = (y: Tensor) => [y.sum([0, 1, 2]), y.square().sum([0, 1, 2])];

Deno.test("sums over a batch have the same bits, whether their terms are read or made of values of images and positions", async () => {
  const random = new Random(41);
  const shapes: [number, number, number, number][] = [
    [12, 4, 6, 12],
    [2, 7, 7, 64],
    [3, 56, 56, 8],
    [1, 9, 5, 3],
    [40, 14, 14, 4],
    [17, 32, 32, 16],
    [128, 1, 1, 10],
    [7, 1, 33, 5],
    [5, 100, 100, 1],
  ];
  for (const threads of [1, 3]) {
    await using device = await open("cpu", { threads });
    for (const [n, h, w, c] of shapes) {
      const array = (...shape: number[]) =>
        new HostArray(random.floats(shape.reduce((a, b) => a * b)), shape);
      const x = array(n, h, w, c);
      const ways: readonly (readonly [HostArray, (x: Tensor, value: Tensor) => Tensor])[] = [
        [array(n, 1, 1, c), (x, image) => x.mul(image)],
        [array(n, 1, 1, 1), (x, image) => x.mul(image)],
        [array(h, w, c), (x, position) => x.add(position)],
        [array(n, 1, 1, c), (x, image) => x.mul(0).add(image)], // as the gradient of a mean over an image
      ];
      for (const [value, way] of ways) {
        using terms = jit(way, { device })(x, value);
        const alone = jit(sums, { device })(terms);
        const within = jit((x: Tensor, value: Tensor) => sums(way(x, value)), { device })(x, value);
        for (const [i, sum] of alone.entries()) {
          assertEquals(await within[i].read(), await sum.read(), `${[n, h, w, c]}, threads ${threads}`);
          sum.dispose();
          within[i].dispose();
        }
      }
    }
  }
});
