import { at } from "../base/at.ts";
import type { Shape } from "../trace/dtype.ts";
import type { ReduceFn } from "../trace/ops.ts";
import type { ValueId } from "../trace/program.ts";
import { isIdentity } from "./axes.ts";
import type { Kernel, Node, Store } from "./kernel.ts";
import { MAX_NODES, NodeList } from "./nodes.ts";

/** The reductions of a draft kernel. */
interface DraftReduce {
  readonly axes: readonly number[];
  readonly reductions: { fn: ReduceFn; node: number; dtype: Node["dtype"] }[];
  readonly list: NodeList;
  stores: Store[];
}

/**
 * The place of a kernel in another that absorbs it: beside its nodes, in the same pass over the same space, or in the
 * epilogue of its reductions.
 */
export type Fit = "beside" | "epilogue";

/** The list that the nodes of an absorbed kernel go to. */
interface Destination {
  readonly list: NodeList;
  /** The absorbing kernel's stores from that list: loads of them become the stored node. */
  readonly stores: readonly Store[];
}

/** A kernel that can still absorb others. */
export class DraftKernel {
  /** Iteration space, without axes of extent 1. */
  readonly space: Shape;
  /** The values read. */
  readonly inputs: ValueId[];
  /** Expression over `space`. */
  readonly list: NodeList;
  /** Element-wise results. */
  stores: readonly Store[] = [];
  /** Reductions, if any. */
  reduce: DraftReduce | undefined;
  /** The values written. */
  outputs: readonly ValueId[] = [];

  /** Starts a kernel over a space. */
  constructor(space: Shape, inputs: ValueId[], list: NodeList) {
    this.space = space;
    this.inputs = inputs;
    this.list = list;
  }

  /** The space without the reduced axes. */
  get outer(): Shape {
    const { axes = [] } = this.reduce ?? {};
    return this.space.filter((_, axis) => !axes.includes(axis));
  }

  /** Stores a node in `output`. */
  store(node: number, output: ValueId): void {
    this.stores = [...this.stores, { node, output }];
    this.#updateOutputs();
  }

  /** Reduces a node over `axes` into `output`. */
  reduceTo(fn: ReduceFn, node: number, axes: readonly number[], output: ValueId): void {
    const { dtype } = at(this.list.nodes, node);
    const list = new NodeList();
    const result = list.add({ kind: "reduced", index: 0, dtype });
    this.reduce = { axes, reductions: [{ fn, node, dtype }], list, stores: [{ node: result, output }] };
    this.#updateOutputs();
  }

  /** Returns where `later` fits into this kernel by its space and views; undefined if nowhere. */
  fit(later: DraftKernel): Fit | undefined {
    if (this.list.nodes.length + later.list.nodes.length > MAX_NODES) return undefined;
    const { reduce } = this;
    const reduced = reduce?.stores ?? [];
    if (isSame(this.space, later.space)) {
      const other = later.reduce;
      const fits = (reduce === undefined || other === undefined || isSame(reduce.axes, other.axes)) &&
        later.#reads(later.list, later.space, this.stores, reduced) &&
        (other === undefined || later.#reads(other.list, later.outer, reduced, this.stores));
      if (fits) return "beside";
    }
    const fits = reduce !== undefined && later.reduce === undefined && isSame(this.outer, later.space) &&
      later.#reads(later.list, later.space, reduced, this.stores);
    return fits ? "epilogue" : undefined;
  }

  /** Tests whether nodes read nothing of `foreign`, and of `own` only each point's own element. */
  #reads(list: NodeList, space: Shape, own: readonly Store[], foreign: readonly Store[]): boolean {
    const among = (stores: readonly Store[], input: number) =>
      stores.some(({ output }) => output === this.inputs[input]);
    return list.nodes.every((node) => {
      if (node.kind === "randomBits") return !among(own, node.key) && !among(foreign, node.key);
      if (node.kind !== "load" || (own.length === 0 && foreign.length === 0)) return true;
      return !among(foreign, node.input) && (!among(own, node.input) || isIdentity(node.view, space));
    });
  }

  /** Returns a kernel of its own in the same state. */
  copy(): DraftKernel {
    const kernel = new DraftKernel(this.space, [...this.inputs], this.list.copy());
    kernel.stores = this.stores;
    kernel.outputs = this.outputs;
    if (this.reduce !== undefined) {
      const { axes, reductions, list, stores } = this.reduce;
      kernel.reduce = { axes, reductions: [...reductions], list: list.copy(), stores: [...stores] };
    }
    return kernel;
  }

  /** Absorbs a later kernel; of two equal nodes or reductions, one is left. */
  absorb(later: DraftKernel, fit: Fit): void {
    if (fit === "epilogue" && this.reduce !== undefined) {
      this.reduce.stores.push(...this.#take(later, later.list.nodes, this.reduce, later.stores).stores);
    } else {
      this.#absorbBeside(later);
    }
    this.#updateOutputs();
  }

  #absorbBeside(later: DraftKernel): void {
    const { list, stores } = this;
    const taken = this.#take(later, later.list.nodes, { list, stores }, later.stores);
    this.stores = [...stores, ...taken.stores];
    const { reduce: other } = later;
    if (other === undefined) return;
    const reduce = this.reduce ??= { axes: other.axes, reductions: [], list: new NodeList(), stores: [] };
    const { reductions } = reduce;
    const reduced = other.reductions.map((reduction) => {
      const moved = { ...reduction, node: at(taken.nodes, reduction.node) };
      const known = reductions.findIndex(({ fn, node }) => fn === moved.fn && node === moved.node);
      return known >= 0 ? known : reductions.push(moved) - 1;
    });
    reduce.stores.push(...this.#take(later, other.list.nodes, reduce, other.stores, reduced).stores);
  }

  /** Stops storing a value that nothing reads any more. */
  drop(output: ValueId): void {
    this.stores = this.stores.filter((store) => store.output !== output);
    if (this.reduce !== undefined) {
      this.reduce.stores = this.reduce.stores.filter((store) => store.output !== output);
    }
    this.#updateOutputs();
  }

  /** Outputs are kept because they are read much more often than they change. */
  #updateOutputs(): void {
    this.outputs = [...this.stores, ...this.reduce?.stores ?? []].map(({ output }) => output);
  }

  /**
   * Tests whether `output` may be written over `input`: the list of nodes that computes it reads only each point's own
   * element of `input`, and the other list none.
   */
  mayOverwrite(input: ValueId, output: ValueId): boolean {
    const index = this.inputs.indexOf(input);
    const { nodes } = this.list;
    const epilogue = this.reduce?.list.nodes ?? [];
    return this.stores.some((store) => store.output === output)
      ? readsOwn(nodes, index, this.space) && !readsAny(epilogue, index)
      : readsOwn(epilogue, index, this.outer) && !readsAny(nodes, index);
  }

  /** Returns the kernel in its present state. */
  finish(): Kernel {
    const { space, inputs, list, stores, reduce } = this;
    if (reduce === undefined) return { space, inputs, nodes: list.nodes, stores };
    const { axes, reductions } = reduce;
    return {
      space,
      inputs,
      nodes: list.nodes,
      stores,
      reduce: { axes, reductions, epilogue: reduce.list.nodes, stores: reduce.stores },
    };
  }

  /**
   * Adds the nodes of a later kernel to a list. Returns the new index of each, and the stores of them. `reductions` are
   * the new indices of the later kernel's reductions.
   */
  #take(
    later: DraftKernel,
    nodes: readonly Node[],
    { list, stores: known }: Destination,
    stores: readonly Store[],
    reductions: readonly number[] = [],
  ): { readonly nodes: readonly number[]; readonly stores: readonly Store[] } {
    const moved: number[] = [];
    const translate = (node: Node): number => {
      switch (node.kind) {
        case "load": {
          const value = at(later.inputs, node.input);
          const own = known.find(({ output }) => output === value);
          return own?.node ?? list.add({ ...node, input: this.#input(value) });
        }
        case "randomBits":
          return list.add({ ...node, key: this.#input(at(later.inputs, node.key)) });
        case "reduced":
          return list.add({ ...node, index: at(reductions, node.index) });
        case "constant":
        case "iota":
          return list.add(node);
        default:
          return list.add(withArguments(node, moved));
      }
    };
    for (const node of nodes) moved.push(translate(node));
    return { nodes: moved, stores: stores.map(({ node, output }) => ({ node: at(moved, node), output })) };
  }

  #input(value: ValueId): number {
    const index = this.inputs.indexOf(value);
    return index >= 0 ? index : this.inputs.push(value) - 1;
  }
}

/** Returns a node with its arguments renumbered. */
function withArguments(node: Extract<Node, { args: unknown }>, moved: readonly number[]): Node {
  // As many arguments as before, which map() does not tell the type system.
  return { ...node, args: node.args.map((arg) => at(moved, arg)) } as unknown as Node;
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((x, i) => x === b[i]);
}

function readsAny(nodes: readonly Node[], input: number): boolean {
  return nodes.some((node) =>
    node.kind === "load" ? node.input === input : node.kind === "randomBits" && node.key === input
  );
}

function readsOwn(nodes: readonly Node[], input: number, space: Shape): boolean {
  return nodes.every((node) =>
    node.kind === "load"
      ? node.input !== input || isIdentity(node.view, space)
      : node.kind !== "randomBits" || node.key !== input
  );
}
