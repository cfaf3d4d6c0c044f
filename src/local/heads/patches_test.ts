import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { noise, run } from "../../../tests/run.ts";
import { grad } from "../../autograd/grad.ts";
import { LocalgradError } from "../../base/errors.ts";
import { key } from "../../base/random.ts";
import { initialize } from "../../nn/initial.ts";
import { type Layer, sequential } from "../../nn/layer.ts";
import type { Named } from "../../nn/named.ts";
import { linear } from "../../nn/linear.ts";
import { globalAveragePooling } from "../../nn/pooling.ts";
import type { Tensor } from "../../trace/tensor.ts";
import { dglHead } from "./heads.ts";
import { patched, patchesOf } from "./patches.ts";

Deno.test("patches cover an image once, also where sizes are not divisible", () => {
  const patches = patchesOf("x", [5, 4, 2], 2);
  assertEquals(patches.map(({ shape }) => shape), [[2, 2, 2], [2, 2, 2], [3, 2, 2], [3, 2, 2]]);
  const given = noise("h", [1, 5, 4, 2]);
  const parts = Object.values(run((h: Tensor) => patches.map(({ of }) => of(h)), given));
  const all = parts.flatMap(({ data }) => [...data]);
  assertEquals(all.toSorted(), [...given.data].toSorted());
  assertEquals([...parts[1]!.data].slice(0, 2), [...given.data].slice(4, 6)); // the upper right begins at column 2
});

Deno.test("a patched head has the mean of its patches' outputs, and their gradients", () => {
  const heads: [string, (shape: readonly number[]) => Layer][] = [
    ["linear", ([, , c]) => sequential({ pool: globalAveragePooling(), fc: linear({ in: c!, out: 3 }) })],
    ["mlp-sr", (shape) => dglHead("mlp-sr", shape, 3)],
  ];
  for (const [name, make] of heads) {
    const head = patched("x", make, [4, 4, 3], 2);
    const params = initialize(head.params, key(0)), state = initialize(head.state, key(0));
    const plain = make([2, 2, 3]);
    const outputs = (
      params: Named<Tensor>,
      state: Named<Tensor>,
      h: Tensor,
      apply: "patched" | "defined",
    ) => {
      if (apply === "patched") return head.apply(params, state, h, "train").y;
      const each = [0, 2].flatMap((row) =>
        [0, 2].map((column) => h.slice([0, row, column, 0], [2, row + 2, column + 2, 3]))
      );
      return each.map((h) => plain.apply(params, state, h, "train").y).reduce((a, b) => a.add(b)).mul(1 / 4);
    };
    const gradients = (apply: "patched" | "defined") =>
      run(
        (params: Named<Tensor>, state: Named<Tensor>, h: Tensor) =>
          grad((both: { params: Named<Tensor>; h: Tensor }) =>
            outputs(both.params, state, both.h, apply).square().sum()
          )({ params, h }),
        params,
        state,
        noise("h", [2, 4, 4, 3]),
      );
    const [got, expected] = [gradients("patched"), gradients("defined")];
    assertEquals(Object.keys(got), Object.keys(expected));
    for (const [path, { data }] of Object.entries(expected)) {
      data.forEach((value, i) => assertAlmostEquals(got[path]!.data[i]!, value, 1e-10, `${name} ${path}`));
    }
  }
});

Deno.test("patches that cannot be are refused", () => {
  const make = () => linear({ in: 1, out: 1 });
  assertThrows(() => patched("dgl", make, [8], 2), LocalgradError, "dgl: patches are parts of images");
  assertThrows(() => patched("dgl", make, [2, 4, 1], 3), LocalgradError, "2×4 cannot be divided into 3×3");
  assertThrows(() => patched("dgl", make, [2, 4, 1], 0), LocalgradError, "patches must be a whole number");
});
