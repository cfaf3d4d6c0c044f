import { at } from "../base/at.ts";
import { type Dim, fixed, grows } from "./dim.ts";
import { inOrder, type Operand, orderOf } from "./operand.ts";
import { computed, isKnown, type Lowering, node, permuted, type Rules } from "./rule.ts";

/** The end of an axis, whatever its extent. */
const END = Number.MAX_SAFE_INTEGER;

/** A position along an axis of `extent` elements for the operator Slice, which counts negative ones from the end. */
function position(dim: Dim, extent: Dim): number {
  if (!grows(dim)) return dim;
  const fromEnd = grows(extent) && extent.perImage === dim.perImage ? dim.fixed - extent.fixed : undefined;
  return fromEnd === undefined ? fixed<number>("a slice", dim) : fromEnd === 0 ? END : fromEnd;
}

/** The same value with other axes. */
function relabelled(operand: Operand, changes: Partial<Operand>): Operand {
  return { ...operand, ...changes } as Operand;
}

/** Rules of the ops that rearrange, repeat or select elements by position. */
export const movementRules: Rules<
  "broadcast" | "reshape" | "transpose" | "slice" | "pad" | "concat" | "stopGradient" | "barrier"
> = {
  broadcast: (_, [x], __, { shape }) => relabelled(x, { shape }),
  reshape: ({ graph, reader }, [x], _, out) =>
    computed(
      graph.node("Reshape", [reader.whole(x, flatOrder(x)), reader.reshapeTensor(out.shape)]),
      out,
      inOrder(out),
    ),
  transpose(to, [x], attrs, out) {
    const permutation = fixed<readonly number[]>("transpose", attrs.permutation);
    const whole = x.kind === "constant" ? computed(to.reader.whole(x), x, inOrder(x)) : x;
    return {
      ...whole,
      shape: out.shape,
      extents: permuted(whole.extents, permutation),
      order: orderOf(whole).map((axis) => permutation.indexOf(axis)),
    };
  },
  slice(to, [x], attrs, out) {
    const order = orderOf(x);
    const strides = fixed<readonly number[]>("slice", attrs.strides);
    const cuts = order.flatMap((axis, i) => {
      const extent = at(x.shape, axis);
      const start = position(at(attrs.starts, axis), extent);
      const limit = position(at(attrs.limits, axis), extent);
      const stride = at(strides, axis);
      const whole = start === 0 && stride === 1 && (limit === extent || limit === END);
      return whole ? [] : [[start, limit, i, stride] as const];
    });
    const name = to.reader.whole(x, order);
    if (cuts.length === 0) return computed(name, out, order);
    const part = (field: 0 | 1 | 2 | 3) => to.graph.integers(cuts.map((cut) => cut[field]));
    return node(to, "Slice", [name, part(0), part(1), part(2), part(3)], out, order);
  },
  pad(to, [x], attrs, out) {
    const { low, high, interior } = fixed<{ low: number[]; high: number[]; interior: number[] }>(
      "pad",
      attrs,
    );
    const order = orderOf(x);
    const spread = spreadOut(
      to,
      to.reader.whole(x, order),
      permuted(x.shape, order),
      permuted(interior, order),
    );
    const pads = to.graph.integers([...permuted(low, order), ...permuted(high, order)]);
    const nothing = to.graph.scalar(
      0,
      x.dtype === "bool" ? "BOOL" : x.dtype === "f32" || x.dtype === "bf16" ? "FLOAT" : "INT64",
    );
    return node(to, "Pad", [spread, pads, nothing], out, order, { mode: "constant" });
  },
  concat(to, operands, attrs, out) {
    const axis = fixed<number>("concat", attrs.axis);
    const order = orderOf(operands.find(({ kind }) => kind === "computed") ?? at(operands, 0));
    const names = operands.map((operand) => to.reader.whole(operand, order));
    return node(to, "Concat", names, out, order, { axis: order.indexOf(axis) });
  },
  stopGradient: (_, [x]) => x,
  barrier: (_, [x]) => x,
};

/** An order in which a value can be read row by row: its own in the graph, if only axes of extent 1 are elsewhere. */
function flatOrder(x: Operand): readonly number[] {
  const [order, own] = [orderOf(x), inOrder(x)];
  const moved = (axes: readonly number[]) => axes.filter((axis) => x.shape[axis] !== 1);
  return String(moved(order)) === String(moved(own)) ? order : own;
}

/**
 * Puts zeros between the elements of axes: each element becomes a row of itself and zeros, and those after the last
 * element are cut off.
 */
function spreadOut(to: Lowering, x: string, shape: readonly Dim[], interior: readonly number[]): string {
  const { graph, reader } = to;
  let name = x;
  let extents: readonly Dim[] = shape;
  interior.forEach((zeros, axis) => {
    const extent = at(extents, axis);
    if (zeros === 0) return;
    if (!isKnown([extent])) fixed("pad", extent);
    const count = extent as number;
    if (count < 2) return;
    const after = extents.slice(axis + 1);
    const rows = graph.node("Reshape", [
      name,
      reader.reshapeTensor([...extents.slice(0, axis), count, 1, ...after]),
    ]);
    const rank = extents.length + 1;
    const pads = new Array(2 * rank).fill(0).with(rank + axis + 1, zeros);
    const wide = graph.node("Pad", [rows, graph.integers(pads)], { mode: "constant" });
    extents = extents.with(axis, count * (zeros + 1));
    const flat = graph.node("Reshape", [wide, reader.reshapeTensor(extents)]);
    const end = count * (zeros + 1) - zeros;
    extents = extents.with(axis, end);
    name = graph.node("Slice", [flat, graph.integers([0]), graph.integers([end]), graph.integers([axis])]);
  });
  return name;
}
