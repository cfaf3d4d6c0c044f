import type { Kernel, Node, Store, View } from "../../compile/kernel.ts";
import { type Aval, type DType, type Shape, sizeOf, stridesOf } from "../../trace/dtype.ts";
import type { ValueId } from "../../trace/program.ts";
import type { Bound, Call, Slot } from "./call.ts";
import {
  type Context,
  convert,
  fold,
  Functions,
  literal,
  printNodes,
  reductionStart,
  typeName,
  type Width,
} from "./expressions.ts";
import { stored, typeOf } from "./rows.ts";
import type { Variant } from "./variant.ts";

/** A space as a kernel walks it: the extents and the names of the indices, the last one in steps of `width`. */
interface Walk {
  readonly shape: Shape;
  readonly axes: readonly string[];
  readonly width: Width;
}

/** Four elements at once where the last axis comes in fours. */
const widthOf = (shape: Shape): Width => shape.length > 0 && shape[shape.length - 1] % 4 === 0 ? 4 : 1;

/** Extents as walked. */
const steps = (shape: Shape, width: Width): number[] =>
  shape.map((extent, axis) => axis === shape.length - 1 ? extent / width : extent);

/**
 * Prints a fused kernel as one dispatch, or as two where a long reduction has few results: the first adds up
 * `splitsOf` interleaved parts of it, the second adds the parts in order. `place` tells which values share memory (an
 * operation in place), because a range of a buffer may be bound only once.
 */
export function fused(
  kernel: Kernel,
  values: readonly Aval[],
  variant: Variant,
  place: (value: ValueId) => string,
): Call[] {
  if (kernel.reduce === undefined) return [map(kernel, values, variant, place)];
  const splits = reductionSplits(kernel, variant);
  return splits === 1 ? [reduction(kernel, values, variant, place, 1)] : [
    reduction(kernel, values, variant, place, splits),
    combination(kernel, values, variant, place, splits),
  ];
}

/** Scratch bytes of a fused kernel: the partial results of a split reduction. */
export function fusedWorkspace(kernel: Kernel, variant: Variant): number {
  const splits = reductionSplits(kernel, variant);
  return splits === 1 ? 0 : splits * kernel.reduce!.reductions.length * sizeOf(keptShape(kernel)) * 4;
}

const keptShape = (kernel: Kernel): number[] =>
  kernel.space.filter((_, axis) => !kernel.reduce!.axes.includes(axis));

/** A part of a split reduction takes in at least this many elements. */
const MIN_PART = 64;
/** Parts at most: the second pass adds them one after the other. */
const MAX_PARTS = 128;

/** From counts of elements alone: the same before and after axes are merged, which the planner does in between. */
function reductionSplits(kernel: Kernel, variant: Variant): number {
  if (kernel.reduce === undefined) return 1;
  const results = sizeOf(keptShape(kernel));
  if (results === 0) return 1;
  const terms = sizeOf(kernel.space) / results;
  return Math.max(
    1,
    Math.min(Math.ceil(4 * variant.busy / results), Math.floor(terms / MIN_PART), MAX_PARTS),
  );
}

/** Results to make and elements of each, counted in steps of the kernel's width. */
function reductionExtents(
  kernel: Kernel,
): { units: number; terms: number; lastReduced: boolean; width: Width } {
  const { space } = kernel;
  const { axes } = kernel.reduce!;
  const width = widthOf(space);
  const lastReduced = axes.includes(space.length - 1);
  const kept = sizeOf(keptShape(kernel)), all = sizeOf(axes.map((axis) => space[axis]));
  return {
    ...{ units: lastReduced ? kept : kept / width, terms: lastReduced ? all / width : all },
    ...{ lastReduced, width },
  };
}

function map(
  kernel: Kernel,
  values: readonly Aval[],
  variant: Variant,
  place: (value: ValueId) => string,
): Call {
  const walk = { shape: kernel.space, axes: names(kernel.space.length, "i"), width: widthOf(kernel.space) };
  const printer = new Printer(kernel, values, place);
  printer.visit(kernel.nodes, kernel.stores, walk);
  return printer.call("map", sizeOf(kernel.space) / walk.width, variant.group, [
    ...decode("id", steps(walk.shape, walk.width), walk.axes),
    ...printNodes(kernel.nodes, "v", printer.context(walk)),
    ...printer.stores(kernel.stores, kernel.nodes, "v", walk),
  ]);
}

/** The pass over the elements: all of a reduction, or with `splits` > 1 its parts, written to the workspace. */
function reduction(
  kernel: Kernel,
  values: readonly Aval[],
  variant: Variant,
  place: (value: ValueId) => string,
  splits: number,
): Call {
  const { space } = kernel;
  const { axes, reductions, epilogue, stores } = kernel.reduce!;
  const { units, terms, lastReduced, width } = reductionExtents(kernel);
  const all = names(space.length, "i");
  const walk: Walk = { shape: space, axes: all, width };
  const kept: Walk = {
    shape: keptShape(kernel),
    axes: all.filter((_, axis) => !axes.includes(axis)),
    width: lastReduced ? 1 : width,
  };
  const extents = steps(space, width);
  const printer = new Printer(kernel, values, place);
  printer.visit(kernel.nodes, kernel.stores, walk);
  if (splits === 1) printer.visit(epilogue, stores, kept);
  else printer.workspace(typeOf("u32", kept.width), true);

  const total = (r: number): string =>
    lastReduced && width === 4 ? across(reductions[r].fn, `a${r}`) : `a${r}`;
  return printer.call(splits === 1 ? "reduce" : "reduceParts", units * splits, variant.group, [
    ...(splits === 1 ? ["let unit = id;"] : [`let unit = id % ${units}u;`, `let part = id / ${units}u;`]),
    ...decode("unit", extents.filter((_, axis) => !axes.includes(axis)), kept.axes),
    ...reductions.map(({ fn, dtype }, r) => `var a${r} = ${reductionStart(fn, dtype, width)};`),
    ...chunked(terms, splits, reductions, width, (accumulator) => [
      ...decode("t", axes.map((axis) => extents[axis]), axes.map((axis) => all[axis])),
      ...printNodes(kernel.nodes, "v", printer.context(walk)),
      ...printer.stores(kernel.stores, kernel.nodes, "v", walk),
      ...reductions.map(({ fn, node }, r) =>
        `${accumulator}${r} = ${fold(fn, `${accumulator}${r}`, `v${node}`)};`
      ),
    ]),
    ...(splits === 1
      ? [
        ...printNodes(epilogue, "e", printer.context(kept, total)),
        ...printer.stores(stores, epilogue, "e", kept),
      ]
      : reductions.map((_, r) =>
        `workspace[(${r * splits}u + part) * ${units}u + unit] = bitcast<${typeOf("u32", kept.width)}>(${
          total(r)
        });`
      )),
  ]);
}

/** Terms added one after the other before their sum is added to the whole: rounding errors grow with the longest row. */
const CHUNK = 128;

/** The loop over every `splits`-th of `terms`, in chunks where it is long. */
function chunked(
  terms: number,
  splits: number,
  reductions: NonNullable<Kernel["reduce"]>["reductions"],
  width: Width,
  body: (accumulator: string) => readonly string[],
): string[] {
  const start = splits === 1 ? "0u" : "part";
  if (terms / splits <= 2 * CHUNK) {
    return [`for (var t = ${start}; t < ${terms}u; t += ${splits}u) {`, ...body("a"), "}"];
  }
  return [
    `for (var first = ${start}; first < ${terms}u; first += ${splits * CHUNK}u) {`,
    ...reductions.map(({ fn, dtype }, r) => `var c${r} = ${reductionStart(fn, dtype, width)};`),
    `for (var t = first; t < min(first + ${splits * CHUNK}u, ${terms}u); t += ${splits}u) {`,
    ...body("c"),
    "}",
    ...reductions.map(({ fn }, r) => `a${r} = ${fold(fn, `a${r}`, `c${r}`)};`),
    "}",
  ];
}

/** The second pass of a split reduction: adds the parts, then the epilogue. */
function combination(
  kernel: Kernel,
  values: readonly Aval[],
  variant: Variant,
  place: (value: ValueId) => string,
  splits: number,
): Call {
  const { reductions, epilogue, stores } = kernel.reduce!;
  const shape = keptShape(kernel);
  const width = widthOf(shape);
  const walk: Walk = { shape, axes: names(shape.length, "i"), width };
  const units = sizeOf(shape) / width;
  const printer = new Printer(kernel, values, place);
  printer.visit(epilogue, stores, walk);
  printer.workspace(typeOf("u32", width), false);
  return printer.call("reduceRest", units, variant.group, [
    ...decode("id", steps(shape, width), walk.axes),
    ...reductions.map(({ fn, dtype }, r) => `var a${r} = ${reductionStart(fn, dtype, width)};`),
    `for (var part = 0u; part < ${splits}u; part++) {`,
    ...reductions.map(({ fn, dtype }, r) => {
      const read = `bitcast<${typeName(dtype, width)}>(workspace[(${r * splits}u + part) * ${units}u + id])`;
      return `a${r} = ${fold(fn, `a${r}`, read)};`;
    }),
    "}",
    ...printNodes(epilogue, "e", printer.context(walk, (r) => `a${r}`)),
    ...printer.stores(stores, epilogue, "e", walk),
  ]);
}

const names = (count: number, prefix: string): string[] =>
  Array.from({ length: count }, (_, axis) => prefix + axis);

/** The four lanes of an accumulator folded into one. */
function across(fn: Parameters<typeof fold>[0], a: string): string {
  return fold(fn, `(${fold(fn, `${a}.x`, `${a}.y`)})`, `(${fold(fn, `${a}.z`, `${a}.w`)})`);
}

/** Lines that take a row-major index apart into one index per axis. */
function decode(index: string, extents: readonly number[], axes: readonly string[]): string[] {
  const lines: string[] = [];
  let rest = index;
  for (let axis = axes.length - 1; axis > 0; axis--) {
    const extent = Math.max(1, extents[axis]);
    lines.push(`let ${axes[axis]} = ${rest} % ${extent}u;`, `let r${axes[axis]} = ${rest} / ${extent}u;`);
    rest = `r${axes[axis]}`;
  }
  if (axes.length > 0) lines.push(`let ${axes[0]} = ${rest};`);
  return lines;
}

interface Declared {
  readonly name: string;
  readonly slot: Slot;
  readonly dtype: DType;
  /** Every access is to four elements in a row, from a multiple of 4. */
  wide: boolean;
  written: boolean;
}

/** What one dispatch of a fused kernel binds, and how it reads and writes it. */
class Printer {
  readonly #buffers = new Map<string, Declared>();
  readonly #functions = new Functions();
  #workspace: Bound | undefined;

  constructor(
    readonly kernel: Kernel,
    readonly values: readonly Aval[],
    readonly place: (value: ValueId) => string,
  ) {}

  /** Declares what nodes and stores touch; all visits come before any printing. */
  visit(nodes: readonly Node[], stores: readonly Store[], walk: Walk): void {
    for (const node of nodes) {
      if (node.kind === "load") this.#touch(this.kernel.inputs[node.input], isWide(node.view, walk));
      if (node.kind === "randomBits") this.#touch(this.kernel.inputs[node.key], false);
    }
    for (const store of stores) this.#touch(store.output, walk.width === 4).written = true;
  }

  /** Declares the workspace. */
  workspace(type: string, write: boolean): void {
    this.#workspace = { name: "workspace", type, slot: "workspace", write };
  }

  #touch(value: ValueId, wide: boolean): Declared {
    const place = this.place(value);
    let buffer = this.#buffers.get(place);
    if (buffer === undefined) {
      const name = `b${this.#buffers.size}`;
      buffer = { name, slot: value, dtype: this.values[value].dtype, wide: true, written: false };
      this.#buffers.set(place, buffer);
    }
    buffer.wide &&= wide;
    return buffer;
  }

  #buffer(value: ValueId): Declared {
    return this.#buffers.get(this.place(value))!;
  }

  /** How nodes look up things while walking `walk`. */
  context(walk: Walk, reduced: (index: number) => string = () => ""): Context {
    const { width } = walk;
    const functions = this.#functions;
    return {
      ...{ width, functions, reduced },
      load: (input, view, dtype) => this.#load(this.kernel.inputs[input], view, dtype, walk),
      index: (view) => {
        const first = element(view, walk);
        const stride = lastStride(view);
        return width === 1
          ? first
          : `(vec4<u32>(${first}) + vec4<u32>(${[0, 1, 2, 3].map((j) => word(j * stride)).join(", ")}))`;
      },
      key: (input) => {
        const { name } = this.#buffer(this.kernel.inputs[input]);
        return [`${name}[0]`, `${name}[1]`];
      },
    };
  }

  #load(value: ValueId, view: View, dtype: DType, walk: Walk): string {
    const { width } = walk;
    const buffer = this.#buffer(value);
    const own = this.values[value].dtype;
    if (own === "u8") {
      return convert(this.#loadBytes(buffer.name, view, walk), "u32", dtype, {
        width,
        functions: this.#functions,
      });
    }
    const raw = this.#loadWords(buffer, own, view, walk);
    return own === "bool" ? `${raw} != ${literal(0, "u32", width)}` : raw;
  }

  #loadWords({ name, wide, dtype: declared }: Declared, dtype: DType, view: View, walk: Walk): string {
    const type = typeOf(stored[dtype], walk.width);
    // Values of different dtypes may share memory; the buffer is declared as the first one's.
    const as = (expression: string, to: string) =>
      stored[declared] === stored[dtype] ? expression : `bitcast<${to}>(${expression})`;
    if (wide) return as(`${name}[${vector(view, walk)}]`, type);
    const first = element(view, walk);
    if (walk.width === 1) return as(`${name}[${first}]`, type);
    const stride = lastStride(view);
    if (stride === 0) return `${type}(${as(`${name}[${first}]`, stored[dtype])})`;
    const four = [0, 1, 2, 3].map((j) => as(`${name}[${first} + ${word(j * stride)}]`, stored[dtype]));
    return `${type}(${four.join(", ")})`;
  }

  #loadBytes(name: string, view: View, walk: Walk): string {
    if (isWide(view, walk)) return `unpack4xU8(${name}[${vector(view, walk)}])`;
    const byte = (at: string) => `((${name}[(${at}) >> 2u] >> (((${at}) & 3u) * 8u)) & 0xffu)`;
    const first = element(view, walk);
    if (walk.width === 1) return byte(first);
    return `vec4<u32>(${
      [0, 1, 2, 3].map((j) => byte(`${first} + ${word(j * lastStride(view))}`)).join(", ")
    })`;
  }

  /** Lines that write results. */
  stores(stores: readonly Store[], nodes: readonly Node[], prefix: string, walk: Walk): string[] {
    const identity = { offset: 0, strides: stridesOf(walk.shape) };
    return stores.flatMap(({ node, output }) => {
      const { name, wide, dtype: declared } = this.#buffer(output);
      const { dtype } = nodes[node];
      const type = typeOf(stored[dtype], walk.width);
      let value = dtype === "bool"
        ? convert(`${prefix}${node}`, "bool", "u32", { width: walk.width, functions: this.#functions })
        : `${prefix}${node}`;
      if (stored[declared] !== stored[dtype]) {
        value = `bitcast<${typeOf(stored[declared], walk.width)}>(${value})`;
      } else if (dtype === "bool") value = `${type}(${value})`;
      if (wide) return [`${name}[${vector(identity, walk)}] = ${value};`];
      const first = element(identity, walk);
      if (walk.width === 1) return [`${name}[${first}] = ${value};`];
      const held = `${prefix}s${node}`;
      return [
        `let ${held} = ${value};`,
        ...["x", "y", "z", "w"].map((lane, j) => `${name}[${first} + ${j}u] = ${held}.${lane};`),
      ];
    });
  }

  /** The finished dispatch. */
  call(label: string, count: number, group: number, lines: readonly string[]): Call {
    const bindings: Bound[] = [...this.#buffers.values()].map(({ name, slot, dtype, wide, written }) => ({
      ...{ name, slot, write: written },
      type: dtype === "u8" ? "u32" : typeOf(stored[dtype], wide ? 4 : 1),
    }));
    if (this.#workspace) bindings.push(this.#workspace);
    const text = [this.#functions.text(), "fn run(id: u32) {", ...lines.map((line) => `  ${line}`), "}"].join(
      "\n",
    );
    return { label, text, bindings, count, group };
  }
}

const lastStride = (view: View): number =>
  view.strides.length > 0 ? view.strides[view.strides.length - 1] : 0;

/** A number modulo 2³², in which indices are computed, so that negative strides work. */
const word = (value: number): string => `${value >>> 0}u`;

/** Whether a view over a space walked in fours reads four elements in a row from a multiple of 4. */
function isWide(view: View, walk: Walk): boolean {
  return walk.width === 4 && lastStride(view) === 1 && view.offset % 4 === 0 &&
    view.strides.slice(0, -1).every((stride) => stride % 4 === 0);
}

/** Where a view is at the walk's indices, in elements; in a walk by fours, at the first of them. */
function element(view: View, walk: Walk): string {
  const last = view.strides.length - 1;
  return sum(
    view.offset,
    view.strides.map((stride, axis) => axis === last ? stride * walk.width : stride),
    walk.axes,
  );
}

/** The same in whole vectors, for a wide view. */
function vector(view: View, walk: Walk): string {
  const last = view.strides.length - 1;
  return sum(
    view.offset / 4,
    view.strides.map((stride, axis) => axis === last ? stride : stride / 4),
    walk.axes,
  );
}

function sum(offset: number, strides: readonly number[], axes: readonly string[]): string {
  const terms = strides.flatMap((stride, axis) =>
    stride === 0 ? [] : [stride === 1 ? axes[axis] : `${axes[axis]} * ${word(stride)}`]
  );
  if (offset !== 0 || terms.length === 0) terms.push(word(offset));
  return terms.join(" + ");
}
