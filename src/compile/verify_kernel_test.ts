import { assertThrows } from "@std/assert";
import type { Aval } from "../trace/dtype.ts";
import type { Kernel, Node } from "./kernel.ts";
import { verifyKernel } from "./verify_kernel.ts";

const values: Aval[] = [
  { shape: [4, 6], dtype: "f32" },
  { shape: [2], dtype: "u32" },
  { shape: [4, 6], dtype: "f32" },
  { shape: [4], dtype: "f32" },
  { shape: [24], dtype: "bool" },
];
const own = { offset: 0, strides: [6, 1] };
const nodes: readonly Node[] = [
  { kind: "load", input: 0, view: own, dtype: "f32" },
  { kind: "randomBits", key: 1, word: 1, view: own, dtype: "u32" },
  { kind: "cast", args: [1], dtype: "f32" },
  { kind: "compare", fn: "lt", args: [0, 2], dtype: "bool" },
  { kind: "select", args: [3, 0, 2], dtype: "f32" },
  { kind: "unary", fn: "neg", args: [4], dtype: "f32" },
  { kind: "binary", fn: "add", args: [5, 0], dtype: "f32" },
  { kind: "iota", view: own, dtype: "i32" },
];
const reduce: NonNullable<Kernel["reduce"]> = {
  axes: [1],
  reductions: [{ fn: "sum", node: 6, dtype: "f32" }],
  epilogue: [{ kind: "reduced", index: 0, dtype: "f32" }],
  stores: [{ node: 0, output: 3 }],
};
const kernel: Kernel = {
  space: [4, 6],
  inputs: [0, 1],
  nodes,
  stores: [{ node: 6, output: 2 }, { node: 3, output: 4 }],
  reduce,
};

Deno.test("verifyKernel() accepts a valid kernel at the limit of its buffers", () => {
  verifyKernel(kernel, values, 5);
  assertThrows(() => verifyKernel(kernel, values, 4), Error, "touches 5 buffers");
});

Deno.test("verifyKernel() finds the faults of each kind of node", () => {
  const wrong: [number, Partial<Node>, string][] = [
    [0, { input: 2 } as Partial<Node>, "loads no input"],
    [0, { dtype: "i32" }, "loads f32 as i32"],
    [0, { view: { offset: 0, strides: [1] } } as Partial<Node>, "1 strides in 2 axes"],
    [0, { view: { offset: 0, strides: [6, -1] } } as Partial<Node>, "reaches from -5"],
    [1, { key: 0 } as Partial<Node>, "has no key"],
    [3, { args: [0, 1] } as Partial<Node>, "compares f32 with u32"],
    [4, { args: [0, 0, 2] } as Partial<Node>, "makes f32 of f32"],
    [5, { args: [3] } as Partial<Node>, "makes f32 of bool"],
    [6, { args: [6, 0] } as Partial<Node>, "reads node 6"],
    [6, { args: [1, 0] } as Partial<Node>, "makes f32 of u32, f32"],
    [7, { view: { offset: 0, strides: [1] } } as Partial<Node>, "1 strides in 2 axes"],
  ];
  for (const [index, change, why] of wrong) {
    const changed = { ...kernel, nodes: nodes.with(index, { ...nodes[index], ...change } as Node) };
    assertThrows(() => verifyKernel(changed, values, 9), Error, why);
  }
});

Deno.test("verifyKernel() finds the faults of stores and reductions", () => {
  const wrong: [Partial<Kernel>, string][] = [
    [{ inputs: [0, 0] }, "listed twice"],
    [{ stores: [{ node: 6, output: 4 }] }, "which is bool"],
    [{ stores: [{ node: 6, output: 3 }] }, "has 4 elements, over a space of 24"],
    [{ stores: [{ node: 99, output: 2 }] }, "stores node 99"],
    [{ reduce: { ...reduce, axes: [1, 0] } }, "not ascending"],
    [{ reduce: { ...reduce, axes: [2] } }, "not ascending"],
    [{ reduce: { ...reduce, reductions: [{ fn: "sum", node: 3, dtype: "f32" }] } }, "reduces node 3 as f32"],
    [
      {
        nodes: [...nodes, { kind: "cast", args: [6], dtype: "bf16" }],
        reduce: { ...reduce, reductions: [{ fn: "sum", node: 8, dtype: "bf16" }] },
      },
      "reduces node 8 in bf16",
    ],
    [
      { reduce: { ...reduce, epilogue: [{ kind: "reduced", index: 1, dtype: "f32" }] } },
      "not the result of a reduction",
    ],
    [{ nodes: [...nodes, { kind: "reduced", index: 0, dtype: "f32" }] }, "not the result of a reduction"],
    [{ reduce: { ...reduce, stores: [{ node: 0, output: 2 }] } }, "has 24 elements, over a space of 4"],
  ];
  for (const [change, why] of wrong) {
    assertThrows(() => verifyKernel({ ...kernel, ...change }, values, 9), Error, why);
  }
  const { reduce: _, ...map } = kernel;
  assertThrows(() => verifyKernel({ ...map, stores: [] }, values, 9), Error, "writes nothing");
});
