import { at } from "../../base/at.ts";
import type { Kernel, Store } from "../../compile/kernel.ts";
import { type Aval, sizeOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import { axisNames, stepsOf } from "../index_text.ts";
import { type Call, THREADS, valueArgument } from "./call.ts";
import {
  decode,
  type Form,
  Parameters,
  printBody,
  type Shared,
  type Walk,
  type Write,
} from "./fused_body.ts";
import { printReduction } from "./fused_reduce.ts";
import { alongTerms, lanesOf, partsOf, widestOf } from "./tiling.ts";

/** Prints a fused kernel. `place` returns equal texts for values that share memory. */
export function fused(kernel: Kernel, values: readonly Aval[], place: (value: ValueId) => string): Call {
  const argument = (value: ValueId) => valueArgument(value, at(values, value).dtype);
  const writes = (stores: readonly Store[]): Write[] =>
    stores.map(({ node, output }) => ({ node, to: { ...argument(output), written: true } }));
  const shared: Shared = (a, b) =>
    a.slot !== "workspace" && b.slot !== "workspace" && place(a.slot) === place(b.slot);
  const form: Form = {
    ...{ space: kernel.space, nodes: kernel.nodes, stores: writes(kernel.stores) },
    inputs: kernel.inputs.map(argument),
  };
  if (kernel.reduce === undefined) return map(form, shared);
  const reduce = { ...kernel.reduce, stores: writes(kernel.reduce.stores) };
  return printReduction({ form, reduce, along: alongTerms(kernel), parts: partsOf(kernel) }, shared);
}

/** A kernel without a reduction. */
function map(form: Form, shared: Shared): Call {
  const lanes = lanesOf(form.space.at(-1) ?? 1, widestOf(form.nodes));
  const walk: Walk = { shape: form.space, axes: axisNames(form.space.length), lanes };
  const count = sizeOf(form.space) / lanes;
  const parameters = new Parameters();
  const lines = [
    "const u32 id = here * THREADS + thread();",
    ...(count % THREADS === 0 ? [] : [`if (id >= ${count}u) return;`]),
    ...decode("id", stepsOf(walk), walk.axes),
    ...printBody({ ...form, walk, prefix: "v" }, parameters),
  ];
  return parameters.call("map", Math.ceil(count / THREADS), lines, shared);
}
