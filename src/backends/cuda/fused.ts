import { at } from "../../base/at.ts";
import type { Kernel, Node, Store } from "../../compile/kernel.ts";
import { type Aval, type DType, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import { axisNames, keptShape, stepsOf } from "../index_text.ts";
import { type Argument, type Call, THREADS, valueArgument } from "./call.ts";
import {
  decode,
  type Form,
  Parameters,
  printBody,
  type ReduceForm,
  type Shared,
  type Walk,
  type Write,
} from "./fused_body.ts";
import { printReduction } from "./fused_reduce.ts";
import { alongTerms, lanesOf, partsOf, widestOf } from "./tiling.ts";

/**
 * Prints a fused kernel as one call, or as two if it reduces many terms to few results: the first folds parts of the
 * terms, the second the results of the parts, in order. `place` returns equal texts for values that share memory.
 */
export function fused(kernel: Kernel, values: readonly Aval[], place: (value: ValueId) => string): Call[] {
  const argument = (value: ValueId) => valueArgument(value, at(values, value).dtype);
  const writes = (stores: readonly Store[]): Write[] =>
    stores.map(({ node, output }) => ({ node, to: { ...argument(output), written: true } }));
  const shared: Shared = (a, b) =>
    a.slot !== "workspace" && b.slot !== "workspace" && place(a.slot) === place(b.slot);
  const form: Form = {
    ...{ space: kernel.space, nodes: kernel.nodes, stores: writes(kernel.stores) },
    inputs: kernel.inputs.map(argument),
  };
  if (kernel.reduce === undefined) return [map(form, shared)];
  const reduce = { ...kernel.reduce, stores: writes(kernel.reduce.stores) };
  const along = alongTerms(kernel), parts = partsOf(kernel);
  if (parts === 1) return [printReduction({ label: "reduce", form, reduce, along, parts }, shared)];
  const { first, second } = inParts(form, reduce, keptShape(kernel), parts);
  return [
    printReduction({ label: "reduceParts", form, reduce: first, along, parts }, shared),
    printReduction({ label: "reduceRest", ...second, along: false, parts: 1 }, shared),
  ];
}

/** A kernel without a reduction. */
function map(form: Form, shared: Shared): Call {
  const lanes = lanesOf(form.space.at(-1) ?? 1, widestOf(form.nodes));
  const walk: Walk = { shape: form.space, axes: axisNames(form.space.length), lanes };
  const count = sizeOf(form.space) / lanes;
  const parameters = new Parameters();
  const lines = [
    "const u32 id = block() * THREADS + thread();",
    ...(count % THREADS === 0 ? [] : [`if (id >= ${count}u) return;`]),
    ...decode("id", stepsOf(walk), walk.axes),
    ...printBody({ ...form, walk, prefix: "v" }, parameters),
  ];
  return parameters.call("map", Math.ceil(count / THREADS), lines, shared);
}

/**
 * Splits a reduction to the shape `kept` in two: the first writes the results of each part to the workspace, the second
 * reduces those and evaluates the epilogue.
 */
function inParts(
  form: Form,
  reduce: ReduceForm,
  kept: readonly number[],
  parts: number,
): { first: ReduceForm; second: { form: Form; reduce: ReduceForm } } {
  const { reductions } = reduce;
  const results = sizeOf(kept);
  const partial = (index: number, dtype: DType, written: boolean): Argument => (
    { slot: "workspace", offset: index * parts * results * 4, dtype, written }
  );
  const view = { offset: 0, strides: [results, ...stridesOf(kept)] };
  const nodes = reductions.map(({ dtype }, index): Node => (
    { kind: "load", input: form.inputs.length + index, view, dtype }
  ));
  return {
    first: {
      ...reduce,
      epilogue: reductions.map(({ dtype }, index) => ({ kind: "reduced", index, dtype })),
      stores: reductions.map(({ dtype }, index) => ({ node: index, to: partial(index, dtype, true) })),
    },
    second: {
      form: {
        ...{ space: [parts, ...kept], nodes, stores: [] },
        inputs: [...form.inputs, ...reductions.map(({ dtype }, index) => partial(index, dtype, false))],
      },
      reduce: {
        ...{ ...reduce, axes: [0] },
        reductions: reductions.map(({ fn, dtype }, node) => ({ fn, node, dtype })),
      },
    },
  };
}
