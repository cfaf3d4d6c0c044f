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
import { printReductions, type Reduction } from "./fused_reduce.ts";
import { alongTerms, lanesOf, partsOf, widestOf } from "./tiling.ts";

/**
 * Prints a fused kernel, or a chain of them (`chainFrom`). `place` returns equal texts for values that share memory. A
 * reduction is divided into parts only if it has a workspace for their results.
 */
export function fused(
  [kernel, ...others]: readonly [Kernel, ...Kernel[]],
  values: readonly Aval[],
  place: (value: ValueId) => string,
  hasWorkspace: boolean,
): Call {
  const shared: Shared = (a, b) =>
    a.slot !== "workspace" && b.slot !== "workspace" && place(a.slot) === place(b.slot);
  const { reduce } = kernel;
  if (reduce === undefined) return map(formOf(kernel, values), shared);
  const parts = others.length > 0 || !hasWorkspace ? 1 : partsOf(kernel), along = alongTerms(kernel);
  const none: NonNullable<Kernel["reduce"]> = { axes: reduce.axes, reductions: [], epilogue: [], stores: [] };
  const pass = (each: Kernel): Reduction => {
    const { stores, ...rest } = each.reduce ?? none;
    return { form: formOf(each, values), reduce: { ...rest, stores: writes(stores, values) }, along, parts };
  };
  return printReductions([pass(kernel), ...others.map(pass)], shared);
}

function formOf({ space, nodes, stores, inputs }: Kernel, values: readonly Aval[]): Form {
  return {
    ...{ space, nodes, stores: writes(stores, values) },
    inputs: inputs.map((value) => valueArgument(value, at(values, value).dtype)),
  };
}

function writes(stores: readonly Store[], values: readonly Aval[]): Write[] {
  return stores.map(({ node, output }) => (
    { node, to: valueArgument(output, at(values, output).dtype, true) }
  ));
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
