import type { Kernel, Node, Store, View } from "../../compile/kernel.ts";
import { type Aval, type DType, type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { ReduceFn } from "../../trace/ops.ts";
import type { ValueId } from "../../trace/program.ts";
import {
  axisNames,
  decode as decodeLines,
  element,
  isRun,
  keptShape,
  lastStride,
  stepsOf,
  type Walk as TextWalk,
  word,
} from "../index_text.ts";
import { type Argument, type Call, THREADS, valueArgument } from "./call.ts";
import { type Context, foldType, printNodes, read, reductionStart, typeOf, written } from "./expressions.ts";
import { alongTerms, type Lanes, lanesOf, partsOf, tileOf, widestOf } from "./schedule.ts";

/** A fused kernel whose operands and results are arguments, so that a workspace can be either. */
interface Form {
  readonly space: Shape;
  readonly inputs: readonly Argument[];
  readonly nodes: readonly Node[];
  readonly stores: readonly Write[];
  readonly reduce?: {
    readonly axes: readonly number[];
    readonly reductions: NonNullable<Kernel["reduce"]>["reductions"];
    readonly epilogue: readonly Node[];
    readonly stores: readonly Write[];
  };
}

interface Write {
  readonly node: number;
  readonly to: Argument;
}

type Walk = TextWalk<Lanes>;

/**
 * Prints a fused kernel: as one launch, or as two where a long reduction has few results, the first folding parts of
 * it, the second the parts, in order. `place` tells which values share memory, being computed in place.
 */
export function fused(kernel: Kernel, values: readonly Aval[], place: (value: ValueId) => string): Call[] {
  const argument = (value: ValueId) => valueArgument(value, values[value].dtype);
  const writes = (stores: readonly Store[]): Write[] =>
    stores.map(({ node, output }) => ({ node, to: { ...argument(output), written: true } }));
  const { reduce } = kernel;
  const form: Form = {
    ...{ space: kernel.space, nodes: kernel.nodes, stores: writes(kernel.stores) },
    inputs: kernel.inputs.map(argument),
    ...(reduce === undefined ? {} : { reduce: { ...reduce, stores: writes(reduce.stores) } }),
  };
  const shared = (a: Argument, b: Argument): boolean =>
    a.slot !== "workspace" && b.slot !== "workspace" && place(a.slot) === place(b.slot);
  if (form.reduce === undefined) return [map(form, shared)];
  const parts = partsOf(kernel);
  if (parts === 1) return [reduction("reduce", form, alongTerms(kernel), 1, shared)];

  const kept = keptShape(kernel), results = sizeOf(kept);
  const partial = (index: number, dtype: DType, written: boolean): Argument => (
    { slot: "workspace", offset: index * parts * results * 4, dtype, written }
  );
  const { reductions } = form.reduce;
  const first: Form = {
    ...form,
    reduce: {
      ...form.reduce,
      epilogue: reductions.map(({ dtype }, index) => ({ kind: "reduced", index, dtype })),
      stores: reductions.map(({ dtype }, index) => ({ node: index, to: partial(index, dtype, true) })),
    },
  };
  const offset = form.inputs.length;
  const second: Form = {
    space: [parts, ...kept],
    inputs: [...form.inputs, ...reductions.map(({ dtype }, index) => partial(index, dtype, false))],
    nodes: reductions.map(({ dtype }, index) => (
      {
        kind: "load",
        input: offset + index,
        view: { offset: 0, strides: [results, ...stridesOf(kept)] },
        dtype,
      }
    )),
    stores: [],
    reduce: {
      ...form.reduce,
      axes: [0],
      reductions: reductions.map(({ fn, dtype }, node) => ({ fn, node, dtype })),
    },
  };
  return [
    reduction("reduceParts", first, alongTerms(kernel), parts, shared),
    reduction("reduceRest", second, false, 1, shared),
  ];
}

/** So many terms a thread folds one by one, before their sum joins others like it: errors do not grow with length. */
const FAN = 64;

type Shared = (a: Argument, b: Argument) => boolean;

function map(form: Form, shared: Shared): Call {
  const lanes = lanesOf(form.space.at(-1) ?? 1, widestOf(form.nodes));
  const walk: Walk = { shape: form.space, axes: axisNames(form.space.length), lanes };
  const count = sizeOf(form.space) / walk.lanes;
  const parameters = new Parameters();
  const lines = [
    "const u32 id = block() * THREADS + thread();",
    ...(count % THREADS === 0 ? [] : [`if (id >= ${count}u) return;`]),
    ...decode("id", stepsOf(walk), walk.axes),
    ...visit(form, form.nodes, form.stores, walk, "v", parameters, "", () => ""),
  ];
  return parameters.call("map", Math.ceil(count / THREADS), lines, shared);
}

/**
 * A pass over all elements that folds some axes away. A block's threads are `width` results times `height` terms of
 * each; every thread folds its terms, then the block folds its threads, always in the same order. With `parts` > 1, a
 * block does one part of the terms and its results are written at `part · results`.
 */
function reduction(label: string, form: Form, along: boolean, parts: number, shared: Shared): Call {
  const { axes, reductions, epilogue, stores } = form.reduce!;
  const { space } = form;
  const all = axisNames(space.length);
  const lanes = lanesOf(space.at(-1) ?? 1, widestOf(form.nodes));
  const isKept = (_: unknown, axis: number) => !axes.includes(axis);
  const keptWalk: Walk = {
    shape: space.filter(isKept),
    axes: all.filter(isKept),
    lanes: axes.includes(space.length - 1) ? 1 : lanes,
  };
  const walk: Walk = { shape: space, axes: all, lanes };
  const steps = stepsOf(walk);
  const units = sizeOf(keptWalk.shape) / keptWalk.lanes;
  const terms = sizeOf(axes.map((axis) => steps[axis]));
  const part = Math.ceil(terms / parts);
  const { width, height } = tileOf(along, units, part);
  const tiles = Math.ceil(units / width);
  const parameters = new Parameters();
  const total = (r: number, lane: string) => `t${r}.at[${lane}]`;
  const body = [
    ...decode("t", axes.map((axis) => steps[axis]), axes.map((axis) => all[axis])),
    ...visit(
      form,
      form.nodes,
      form.stores,
      walk,
      "v",
      parameters,
      "",
      () => "",
      (lane) =>
        reductions.map(({ fn, node }, r) =>
          `a${r}.at[${lane}] = ${foldType[fn]}::fold(a${r}.at[${lane}], v${node});`
        ),
    ),
  ];
  const lines = [
    ...(parts > 1
      ? [`const u32 tile = block() % ${tiles}u, part = block() / ${tiles}u;`]
      : [`const u32 tile = block();`]),
    along
      ? `const u32 x = thread() / ${height}u, y = thread() % ${height}u;`
      : `const u32 x = thread() % ${width}u, y = thread() / ${width}u;`,
    `const u32 unit = tile * ${width}u + x;`,
    ...(units % width === 0 ? ["const bool live = true;"] : [`const bool live = unit < ${units}u;`]),
    ...decode("unit", stepsOf(keptWalk), keptWalk.axes),
    ...reductions.map(({ fn, dtype }, r) =>
      `Vec<${typeOf[dtype]}, ${walk.lanes}> a${r} = filled<${walk.lanes}, ${typeOf[dtype]}>(${
        reductionStart(fn, dtype)
      });`
    ),
    "if (live) {",
    ...(parts > 1
      ? [
        `  const u32 end = lesser((part + 1u) * ${part}u, ${terms}u);`,
        `  const u32 start = part * ${part}u + y;`,
      ]
      : [`  const u32 end = ${terms}u, start = y;`]),
    ...(part > FAN * height
      ? [
        ...reductions.map((_, r) => `  auto b${r} = a${r}, none${r} = a${r};`),
        `  for (u32 first = start; first < end; first += ${FAN * height}u) {`,
        `    const u32 last = lesser(first + ${FAN * height}u, end);`,
        `    for (u32 t = first; t < last; t += ${height}u) {`,
        ...body.map((line) => `      ${line}`),
        "    }",
        ...reductions.map(({ fn }, r) =>
          `    UNROLL for (u32 e = 0; e < ${walk.lanes}u; ++e) ` +
          `b${r}.at[e] = ${foldType[fn]}::fold(b${r}.at[e], a${r}.at[e]);`
        ),
        `    ${reductions.map((_, r) => `a${r} = none${r};`).join(" ")}`,
        "  }",
        `  ${reductions.map((_, r) => `a${r} = b${r};`).join(" ")}`,
      ]
      : [
        `  for (u32 t = start; t < end; t += ${height}u) {`,
        ...body.map((line) => `    ${line}`),
        "  }",
      ]),
    "}",
    ...reductions.flatMap(({ fn, dtype }, r) => [
      `Vec<${typeOf[dtype]}, ${keptWalk.lanes}> t${r};`,
      ...(walk.lanes === keptWalk.lanes ? [`t${r} = a${r};`] : [
        `t${r}.at[0] = ${foldLanes(fn, `a${r}`, 0, walk.lanes)};`,
      ]),
      `fold_across<${foldType[fn]}, ${height}, ${along ? 1 : width}>(t${r}, y);`,
    ]),
    "if (y != 0 || !live) return;",
    ...visit(
      form,
      epilogue,
      stores,
      keptWalk,
      "e",
      parameters,
      parts > 1 ? `part * ${sizeOf(keptWalk.shape)}u + ` : "",
      total,
    ),
  ];
  return parameters.call(label, tiles * parts, lines, shared);
}

/** Folds `lanes` elements of a vector in pairs. */
function foldLanes(fn: ReduceFn, vector: string, from: number, lanes: number): string {
  if (lanes === 1) return `${vector}.at[${from}]`;
  const half = lanes / 2;
  const [low, high] = [from, from + half].map((at) => foldLanes(fn, vector, at, half));
  return `${foldType[fn]}::fold(${low}, ${high})`;
}

/** Lines that split a row-major index into one index per axis. */
function decode(index: string, extents: readonly number[], axes: readonly string[]): string[] {
  return decodeLines(index, extents, axes, (definitions) => [`const u32 ${definitions.join(", ")};`]);
}

/**
 * Lines that evaluate nodes at the walk's indices and write results: loads of whole runs first, then each lane, then
 * the writes. `inside` adds lines to each lane; `base` is put before the index of a write.
 */
function visit(
  form: Form,
  nodes: readonly Node[],
  stores: readonly Write[],
  walk: Walk,
  prefix: string,
  parameters: Parameters,
  base: string,
  reduced: (index: number, lane: string) => string,
  inside: (lane: string) => readonly string[] = () => [],
): string[] {
  const { lanes } = walk;
  const before: string[] = [];
  const context: Context = {
    dtype: (input) => form.inputs[input].dtype,
    load(node, input, view) {
      const name = parameters.of(form.inputs[input]);
      const { dtype } = form.inputs[input];
      const run = `${prefix}r${node}`;
      const last = lastStride(view);
      if (isRun(view, walk)) {
        before.push(
          `const Vec<${typeOf[dtype]}, ${lanes}> ${run} = load<${lanes}>(${name} + ${element(view, walk)});`,
        );
        return read(`${run}.at[e]`, dtype);
      }
      if (last === 0 || lanes === 1) {
        before.push(`const ${typeOf[dtype]} ${run} = ${name}[${element(view, walk)}];`);
        return read(run, dtype);
      }
      before.push(`const u32 ${run} = ${element(view, walk)};`);
      return read(`${name}[${run} + e * ${word(last)}]`, dtype);
    },
    index: (view) =>
      lastStride(view) === 0 || lanes === 1
        ? element(view, walk)
        : `${element(view, walk)} + e * ${word(lastStride(view))}`,
    key: (input, at) => `${parameters.of(form.inputs[input])}[${at}]`,
    reduced: (index) => reduced(index, "e"),
  };
  const values = printNodes(nodes, prefix, context);
  const identity: View = { offset: 0, strides: stridesOf(walk.shape) };
  const runs = stores.map(({ node }, i) => `Vec<${typeOf[nodes[node].dtype]}, ${lanes}> ${prefix}s${i};`);
  const writes = stores.map(({ to }, i) =>
    `store(${parameters.of(to)} + (${base}${element(identity, walk)}), ${prefix}s${i});`
  );
  return [
    ...before,
    ...runs,
    `UNROLL for (u32 e = 0; e < ${lanes}u; ++e) {`,
    ...values.map((line) => `  ${line}`),
    ...stores.map(({ node }, i) =>
      `  ${prefix}s${i}.at[e] = ${written(`${prefix}${node}`, nodes[node].dtype)};`
    ),
    ...inside("e").map((line) => `  ${line}`),
    "}",
    ...writes,
  ];
}

/** The arguments of a kernel, named as they are first used. */
class Parameters {
  readonly #list: Argument[] = [];

  of(argument: Argument): string {
    let at = this.#list.findIndex((a) =>
      a.slot === argument.slot && a.offset === argument.offset && a.written === argument.written
    );
    if (at < 0) at = this.#list.push(argument) - 1;
    return `p${at}`;
  }

  call(label: string, blocks: number, lines: readonly string[], shared: Shared): Call {
    // A result computed in place is read and written through two pointers.
    const alone = (argument: Argument) =>
      this.#list.every((other) =>
        other === argument || (!argument.written && !other.written) || !shared(argument, other)
      );
    const list = this.#list.map((argument, i) =>
      `${argument.written ? "" : "const "}${typeOf[argument.dtype]}* ${
        alone(argument) ? "__restrict__ " : ""
      }p${i}`
    );
    const text = [`KERNEL(THREADS) NAME(${list.join(", ")}) {`, ...lines.map((line) => `  ${line}`), "}"]
      .join("\n");
    return { label, text, arguments: this.#list, blocks };
  }
}
