import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { host, noise, run } from "../../tests/run.ts";
import { LocalgradError } from "../base/errors.ts";
import { key } from "../base/random.ts";
import type { Tensor } from "../trace/tensor.ts";
import { treePaths } from "../trace/tree.ts";
import { batchNorm } from "./batch_norm.ts";
import { sequential, shapeAfter } from "./layer.ts";
import { conv } from "./conv.ts";
import { convTranspose } from "./conv_transpose.ts";
import { embedding } from "./embedding.ts";
import { linear } from "./linear.ts";
import { descend, merge, nest, pathWithin, replaced, select } from "./named.ts";
import { relu } from "./activation.ts";
import { flatten } from "./flatten.ts";
import { adaptiveAveragePool, averagePooling, globalAveragePooling, maxPooling } from "./pooling.ts";
import { residualBlock } from "./residual.ts";
import { upsampling } from "./upsampling.ts";
import { resnet8 } from "../models/resnet.ts";

Deno.test("conv() correlates an odd-shaped image with strides, padding and bias", () => {
  const layer = conv({
    in: 2,
    out: 3,
    window: [3, 2],
    strides: [2, 1],
    padding: [[1, 0], [0, 2]],
    bias: true,
  });
  assertEquals(shapeAfter(layer, [5, 4, 2]), [2, 5, 3]);
  const [x, weight, bias] = [noise("x", [2, 5, 4, 2]), noise("w", [3, 3, 2, 2]), noise("b", [3])];
  const { data } = run((p: never, x: Tensor) => layer.apply(p, {}, x, "train").y, { weight, bias }, x)[""];
  const pixel = (n: number, h: number, w: number, c: number) =>
    h < 0 || h >= 5 || w < 0 || w >= 4 ? 0 : x.data[((n * 5 + h) * 4 + w) * 2 + c];
  let i = 0;
  for (let n = 0; n < 2; n++) {
    for (let p = 0; p < 2; p++) {
      for (let q = 0; q < 5; q++) {
        for (let k = 0; k < 3; k++) {
          let sum = bias.data[k];
          for (let r = 0; r < 3; r++) {
            for (let s = 0; s < 2; s++) {
              for (let c = 0; c < 2; c++) {
                sum += pixel(n, 2 * p - 1 + r, q + s, c) * weight.data[((k * 3 + r) * 2 + s) * 2 + c];
              }
            }
          }
          assertAlmostEquals(data[i++], sum, 1e-9);
        }
      }
    }
  }
});

Deno.test("linear() multiplies by the transposed weight", () => {
  const { data } = run(
    (p: never, x: Tensor) => linear({ in: 3, out: 2 }).apply(p, {}, x, "train").y,
    { weight: host([1, 2, 3, 4, 5, 6], [2, 3]), bias: host([10, 20]) },
    host([1, 0, -1, 2, 1, 0], [2, 3]),
  )[""];
  assertEquals([...data], [8, 18, 14, 33]);
});

Deno.test("linear() and embedding() refuse a deviation that is none", () => {
  for (const std of [-1, NaN, Infinity]) {
    assertThrows(() => linear({ in: 2, out: 2, std }), LocalgradError, "linear: std must be at least 0, not");
    assertThrows(
      () => embedding({ vocabulary: 2, width: 2, std }),
      LocalgradError,
      "embedding: std must be at least 0, not",
    );
  }
});

Deno.test("pooling layers give the expected shapes", () => {
  assertEquals(shapeAfter(maxPooling({ window: 3, strides: 2, padding: 1 }), [7, 5, 4]), [4, 3, 4]);
  assertEquals(shapeAfter(averagePooling({ window: [2, 3] }), [7, 6, 4]), [3, 2, 4]);
  assertEquals(shapeAfter(globalAveragePooling(), [7, 5, 4]), [4]);
  assertEquals(shapeAfter(flatten(), [7, 5, 4]), [140]);
});

for (
  const [rows, columns, height, width] of [[7, 5, 2, 2], [8, 8, 2, 4], [1, 1, 2, 2], [3, 9, 3, 4], [
    5,
    6,
    4,
    6,
  ]]
) {
  Deno.test(`adaptiveAveragePool() averages ${rows}×${columns} to ${height}×${width} as PyTorch does`, () => {
    const x = noise("x", [2, rows, columns, 3]);
    const { data, shape } = run((x: Tensor) => adaptiveAveragePool(x, height, width), x)[""];
    assertEquals(shape, [2, height, width, 3]);
    let at = 0;
    for (let n = 0; n < 2; n++) {
      for (let i = 0; i < height; i++) {
        for (let j = 0; j < width; j++) {
          for (let c = 0; c < 3; c++) {
            let sum = 0, count = 0;
            for (let h = Math.floor(i * rows / height); h < Math.ceil((i + 1) * rows / height); h++) {
              for (let w = Math.floor(j * columns / width); w < Math.ceil((j + 1) * columns / width); w++) {
                sum += x.data[((n * rows + h) * columns + w) * 3 + c];
                count++;
              }
            }
            assertAlmostEquals(data[at++], sum / count, 1e-9);
          }
        }
      }
    }
  });
}

Deno.test("adaptiveAveragePool() refuses extents that are not whole", () => {
  const apply = (x: Tensor) => adaptiveAveragePool(x, 2, 1.5);
  assertThrows(
    () => run(apply, noise("x", [1, 6, 6, 2])),
    LocalgradError,
    "whole number of at least 1, not 1.5",
  );
});

Deno.test("adaptiveAveragePool() refuses anything but images", () => {
  assertThrows(
    () => run((x: Tensor) => adaptiveAveragePool(x, 2, 2), noise("x", [1, 6, 6])),
    LocalgradError,
    "adaptiveAveragePool: needs features [height, width, channels], not [6,6]",
  );
});

Deno.test("sequential() nests parameters and state under dotted names", () => {
  const net = sequential({
    "body.0": conv({ in: 1, out: 2, padding: 1 }),
    "body.1": batchNorm({ channels: 2 }),
    act: relu(),
    pool: globalAveragePooling(),
    fc: linear({ in: 2, out: 4, bias: false }),
  });
  assertEquals(treePaths(net.params), [
    "body.0.weight",
    "body.1.weight",
    "body.1.bias",
    "fc.weight",
  ]);
  assertEquals(treePaths(net.state), ["body.1.running_mean", "body.1.running_var"]);
  assertEquals(shapeAfter(net, [6, 5, 1]), [4]);
  const { params, state } = net.init(key(0));
  const results = run(
    (p: never, s: never, x: Tensor) => net.apply(p, s, x, "train"),
    params,
    state,
    noise("x", [2, 6, 5, 1]),
  );
  assertEquals(Object.keys(results), ["y", "state.body.1.running_mean", "state.body.1.running_var"]);
});

Deno.test("residualBlock() projects only where the shape changes", () => {
  const same = residualBlock({ in: 4, out: 4 });
  const wider = residualBlock({ in: 4, out: 6, stride: 2 });
  assertEquals("downsample" in same.params, false);
  assertEquals(
    treePaths(wider.params).filter((path) => path.startsWith("downsample")),
    ["downsample.0.weight", "downsample.1.weight", "downsample.1.bias"],
  );
  assertEquals(shapeAfter(same, [7, 5, 4]), [7, 5, 4]);
  assertEquals(shapeAfter(wider, [7, 5, 4]), [4, 3, 6]);
});

Deno.test("residualBlock() adds its input before the last ReLU", () => {
  const block = residualBlock({ in: 2, out: 2 });
  const { params, state } = block.init(key(1));
  const zeroed = { ...params, bn2: { weight: host([0, 0]), bias: host([0, 0]) } };
  const x = noise("x", [2, 3, 3, 2]);
  const { data } =
    run((p: never, s: never, x: Tensor) => block.apply(p, s, x, "train").y, zeroed, state, x)[""];
  data.forEach((value, i) => assertAlmostEquals(value, Math.max(x.data[i], 0), 1e-9));
});

Deno.test("height and width are one number or two, whatever takes them", () => {
  const one = [3] as never, three = [3, 3, 3] as never;
  const refused: [string, () => unknown][] = [
    ["conv: window", () => conv({ in: 2, out: 2, window: one })],
    ["conv: strides", () => conv({ in: 2, out: 2, strides: three })],
    ["convTranspose: window", () => convTranspose({ in: 2, out: 2, window: one })],
    ["convTranspose: padding", () => convTranspose({ in: 2, out: 2, padding: three })],
    ["upsampling: size", () => upsampling({ size: one })],
    ["resnet8: size", () => resnet8({ size: three })],
  ];
  for (const [what, make] of refused) {
    const message = `${what} must be a whole number, or two: [height, width], not a list of `;
    assertThrows(make, LocalgradError, message);
  }
});

Deno.test("conv() refuses groups that do not divide the channels", () => {
  for (const spec of [{ in: 3, out: 8 }, { in: 8, out: 3 }]) {
    assertThrows(
      () => conv({ ...spec, groups: 2 }),
      LocalgradError,
      "channels cannot be divided into 2 groups",
    );
  }
});

Deno.test("named trees nest, merge and select by path, and refuse trees that do not fit", () => {
  const tree = merge(nest("a.0", { w: 1 }), nest("a.1", { w: 2 }), { b: 3 });
  assertEquals(tree, { a: { 0: { w: 1 }, 1: { w: 2 } }, b: 3 });
  assertEquals(descend(tree, "a.1"), { w: 2 });
  assertEquals(descend(tree, "a.7.x"), {});
  assertEquals(select(tree, { b: null, a: { 1: { w: null } } }), { b: 3, a: { 1: { w: 2 } } });
  assertThrows(() => select(tree, { c: null }), LocalgradError, '"c"');
  assertThrows(() => merge({ a: 1 }, { a: 2 }), LocalgradError, '"a"');
  assertThrows(() => merge<number>({ a: 1 }, { a: { b: 2 } }), LocalgradError, '"a"');
});

Deno.test("a path that ends in joined names is the part of its parent that has them", () => {
  const tree = { a: { 0: { w: 1 }, 1: { w: 2 }, 2: { w: 3 } } };
  assertEquals(nest("a.0+1", { 0: { w: 1 }, 1: { w: 2 } }), { a: { 0: { w: 1 }, 1: { w: 2 } } });
  assertEquals(descend(tree, "a.0+1"), { 0: { w: 1 }, 1: { w: 2 } });
  assertEquals(descend(tree, "a.1+7"), { 1: { w: 2 } }); // one of them has no parameters
  assertEquals(replaced(tree, "a.0+1", { 0: { w: 5 } }), { a: { 0: { w: 5 }, 1: { w: 2 }, 2: { w: 3 } } });
  assertEquals(pathWithin("a.0+1", "0"), "a.0");
  assertEquals(pathWithin("a.0", "w"), "a.0.w");
  assertEquals(nest("c.a.0+1.x", 1), { c: { a: { "0+1": { x: 1 } } } }); // a name in the middle is as it is
});
