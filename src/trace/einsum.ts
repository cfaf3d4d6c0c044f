import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";
import { formatAval, isFloat, type Shape, sizeOf } from "./dtype.ts";
import { iota, where } from "./functions.ts";
import { expectTensor, type Tensor } from "./tensor.ts";

/** A tensor with a label for each axis. */
interface Labelled {
  readonly tensor: Tensor;
  readonly labels: readonly string[];
}

/**
 * Sums of products in Einstein's notation, as NumPy and PyTorch write it: a letter for each axis of each operand, then
 * those of the result. Letters that the result lacks are summed over; without `->` it has the letters that occur once,
 * in alphabetical order. `...` stands for any number of leading axes, which broadcast; a letter that an operand has
 * twice takes its diagonal.
 *
 * Operands are contracted from left to right, each pair by a matrix product where both keep letters of their own;
 * put the pair with the smallest result first.
 *
 * @param equation Such as `"bhqd,bhkd->bhqk"`; spaces are ignored.
 * @param operands One for each list of letters, all of one dtype of arithmetic.
 * @throws {LocalgradError} if the equation does not fit the operands.
 *
 * @example
 * ```ts
 * import { devices, einsum, jit, type Tensor } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * await using device = await devices.open("reference");
 * const trace = jit((x: Tensor) => einsum("ii->", x), { device });
 * using y = trace(device.array([1, 2, 3, 4], [2, 2]));
 * assertEquals([...await y.read()], [5]);
 * ```
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  expectKind("einsum: the equation", equation, "string");
  expectTensor("einsum", ...operands);
  const refuse = (why: string): never => {
    throw new LocalgradError(`einsum("${equation}", ${operands.map(formatAval).join(", ")}): ${why}`);
  };
  const { inputs, result } = parse(equation, operands, refuse);
  const [first, ...others] = operands.map((tensor, i) => diagonal({ tensor, labels: at(inputs, i) }, refuse));
  if (first === undefined) return refuse("needs at least one operand");
  const joined = others.reduce((left, right, i) => {
    const later = new Set([...result, ...inputs.slice(i + 2).flat()]);
    return contract(
      summed(left, union(later, right.labels)),
      summed(right, union(later, left.labels)),
      later,
      refuse,
    );
  }, first);
  const { tensor, labels } = summed(joined, new Set(result));
  return permuted(tensor, labels, result);
}

type Refuse = (why: string) => never;

/** The labels of each operand and of the result. Axes of an ellipsis are labelled by their distance from its end. */
function parse(equation: string, operands: readonly Tensor[], refuse: Refuse): {
  readonly inputs: readonly (readonly string[])[];
  readonly result: readonly string[];
} {
  const [left = "", right, ...more] = equation.replaceAll(" ", "").split("->");
  const terms = left.split(",");
  if (more.length > 0) refuse('"->" occurs twice');
  if (terms.length !== operands.length) refuse(`it names ${terms.length} operands, not ${operands.length}`);
  const inputs = terms.map((term, i) => {
    const { shape } = at(operands, i);
    const letters = term.replace("...", "");
    checkLetters(letters, refuse);
    const open = shape.length - letters.length;
    if (open < 0 || (open > 0 && !term.includes("..."))) {
      refuse(`operand ${i} has ${shape.length} axes, but "${term}" names ${letters.length}`);
    }
    return spelt(term, open);
  });
  const open = inputs.flat().filter((label) => label.length > 1);
  const widest = open.reduce((most, label) => Math.max(most, Number(label.slice(1))), 0);
  if (right === undefined) {
    const all = inputs.flat();
    const once = all.filter((label) => label.length === 1 && all.indexOf(label) === all.lastIndexOf(label));
    return { inputs, result: [...spelt("...", widest), ...once.sort()] };
  }
  checkLetters(right.replace("...", ""), refuse);
  const result = spelt(right, widest);
  result.forEach((label, i) => {
    if (!inputs.some((labels) => labels.includes(label))) refuse(`no operand has the result's "${label}"`);
    if (result.indexOf(label) !== i) refuse(`the result has "${label}" twice`);
  });
  return { inputs, result };
}

function checkLetters(letters: string, refuse: Refuse): void {
  if (!/^[a-zA-Z]*$/.test(letters)) refuse(`axes are named by letters, not by "${letters}"`);
}

/** The labels of a term whose ellipsis, if any, stands for `open` axes. */
function spelt(term: string, open: number): string[] {
  const [before = "", after] = term.split("...");
  if (after === undefined) return [...before];
  return [...before, ...Array.from({ length: open }, (_, i) => `.${open - i}`), ...after];
}

function union(labels: ReadonlySet<string>, more: readonly string[]): Set<string> {
  return new Set([...labels, ...more]);
}

/** Takes the diagonal along labels that occur twice: what is off it is not selected. */
function diagonal({ tensor, labels }: Labelled, refuse: Refuse): Labelled {
  const second = labels.findIndex((label, axis) => labels.indexOf(label) !== axis);
  if (second < 0) return { tensor, labels };
  const label = at(labels, second);
  const first = labels.indexOf(label);
  const { shape } = tensor;
  if (shape[first] !== shape[second]) refuse(`"${label}" is ${shape[first]} and ${shape[second]} long`);
  const isOn = iota(shape, first).eq(iota(shape, second));
  return diagonal(
    { tensor: where(isOn, tensor, 0).sum(second), labels: labels.filter((_, axis) => axis !== second) },
    refuse,
  );
}

/** Sums over the axes whose labels are not needed. */
function summed({ tensor, labels }: Labelled, needed: ReadonlySet<string>): Labelled {
  const axes = labels.flatMap((label, axis) => needed.has(label) ? [] : [axis]);
  if (axes.length === 0) return { tensor, labels };
  return { tensor: tensor.sum(axes), labels: labels.filter((label) => needed.has(label)) };
}

/** A tensor with its axes in another order. */
function permuted(tensor: Tensor, labels: readonly string[], order: readonly string[]): Tensor {
  if (order.every((label, axis) => labels[axis] === label)) return tensor;
  return tensor.transpose(...order.map((label) => labels.indexOf(label)));
}

/** The product of two operands, summed over the labels that both have and nothing later needs. */
function contract(a: Labelled, b: Labelled, later: ReadonlySet<string>, refuse: Refuse): Labelled {
  const both = a.labels.filter((label) => b.labels.includes(label));
  const batch = both.filter((label) => later.has(label));
  const inner = both.filter((label) => !later.has(label));
  const rows = a.labels.filter((label) => !both.includes(label));
  const columns = b.labels.filter((label) => !both.includes(label));
  const labels = [...batch, ...rows, ...columns];
  const [x, y] = [stretched(a, b, refuse), stretched(b, a, refuse)];
  const extent = (label: string) => extentOf(x, label) ?? extentOf(y, label) ?? 1;
  const shape = (some: readonly string[]) => some.map(extent);
  const isProduct = inner.length > 0 && labels.length > batch.length && isFloat(x.tensor.dtype);
  if (!isProduct) {
    const all = [...labels, ...inner];
    const aligned = ({ tensor, labels: own }: Labelled) =>
      permuted(tensor, own, all.filter((label) => own.includes(label)))
        .reshape(...all.map((label) => own.includes(label) ? extent(label) : 1));
    const product = aligned(x).mul(aligned(y));
    return {
      tensor: inner.length === 0 ? product : product.sum(inner.map((_, i) => labels.length + i)),
      labels,
    };
  }
  const matrices = (
    { tensor, labels: own }: Labelled,
    order: readonly (readonly string[])[],
    swapped: readonly (readonly string[])[],
  ): { readonly matrix: Tensor; readonly transpose: boolean } => {
    // Operands whose last axes are swapped as a whole need no copy.
    const transpose = swapped.flat().every((label, axis) => own[axis] === label);
    const groups = transpose ? swapped : order;
    const extents = groups.map((group) => sizeOf(shape(group)));
    const used: Shape = batch.length === 0 ? extents.slice(1) : extents;
    return { matrix: permuted(tensor, own, groups.flat()).reshape(...used), transpose };
  };
  const left = matrices(x, [batch, rows, inner], [batch, inner, rows]);
  const right = matrices(y, [batch, inner, columns], [batch, columns, inner]);
  const product = left.matrix.matmul(right.matrix, {
    transposeA: left.transpose,
    transposeB: right.transpose,
  });
  return { tensor: product.reshape(...shape(labels)), labels };
}

function extentOf({ tensor, labels }: Labelled, label: string): number | undefined {
  return tensor.shape[labels.indexOf(label)];
}

/** An operand with its axes of extent 1 repeated where the other's are longer. */
function stretched(operand: Labelled, other: Labelled, refuse: Refuse): Labelled {
  const { tensor, labels } = operand;
  const shape = labels.map((label, axis) => {
    const [own, its] = [at(tensor.shape, axis), extentOf(other, label) ?? 1];
    if (own !== its && own !== 1 && its !== 1) refuse(`"${label}" is ${own} and ${its} long`);
    return own === 1 ? its : own;
  });
  return { tensor: tensor.broadcastTo(shape), labels };
}
