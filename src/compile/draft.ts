import type { Shape } from "../trace/dtype.ts";
import type { ValueId } from "../trace/program.ts";
import { isIdentity } from "./axes.ts";
import type { Kernel, Node, Store } from "./kernel.ts";
import { MAX_NODES, NodeList } from "./nodes.ts";

/** The reductions of a draft. */
interface DraftReduce {
  readonly axes: readonly number[];
  readonly reductions: { fn: "sum" | "max" | "min"; node: number; dtype: Node["dtype"] }[];
  readonly list: NodeList;
  stores: Store[];
}

/**
 * How one kernel becomes part of another: beside it, in the same pass over the same space, or as the epilogue of its
 * reductions.
 */
export type Fit = "beside" | "epilogue";

/** A kernel that can still take in others. */
export class Draft {
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

  /** What is left of the space once the folded axes are gone. */
  get outer(): Shape {
    const { axes = [] } = this.reduce ?? {};
    return this.space.filter((_, axis) => !axes.includes(axis));
  }

  /** Writes node `node` to `output`. */
  store(node: number, output: ValueId): void {
    this.stores = [...this.stores, { node, output }];
    this.#note();
  }

  /** Folds node `node` over `axes` into `output`. */
  fold(fn: "sum" | "max" | "min", node: number, axes: readonly number[], output: ValueId): void {
    const { dtype } = this.list.nodes[node];
    const list = new NodeList();
    const result = list.add({ kind: "reduced", index: 0, dtype });
    this.reduce = { axes, reductions: [{ fn, node, dtype }], list, stores: [{ node: result, output }] };
    this.#note();
  }

  /** How `later` can become part of this kernel, so far as spaces and views go. */
  fit(later: Draft): Fit | undefined {
    if (this.list.nodes.length + later.list.nodes.length > MAX_NODES) return undefined;
    const { reduce } = this;
    const folded = reduce?.stores ?? [];
    if (same(this.space, later.space)) {
      const other = later.reduce;
      const fits = (reduce === undefined || other === undefined || same(reduce.axes, other.axes)) &&
        later.#reads(later.list, later.space, this.stores, folded) &&
        (other === undefined || later.#reads(other.list, later.outer, folded, this.stores));
      if (fits) return "beside";
    }
    const fits = reduce !== undefined && later.reduce === undefined && same(this.outer, later.space) &&
      later.#reads(later.list, later.space, folded, this.stores);
    return fits ? "epilogue" : undefined;
  }

  /** Whether a list of nodes reads nothing `foreign`, and of what is `own` each point's own element only. */
  #reads(list: NodeList, space: Shape, own: readonly Store[], foreign: readonly Store[]): boolean {
    const among = (stores: readonly Store[], input: number) =>
      stores.some(({ output }) => output === this.inputs[input]);
    return list.nodes.every((node) => {
      if (node.kind === "randomBits") return !among(own, node.key) && !among(foreign, node.key);
      if (node.kind !== "load" || (own.length === 0 && foreign.length === 0)) return true;
      return !among(foreign, node.input) && (!among(own, node.input) || isIdentity(node.view, space));
    });
  }

  /** Takes in a later kernel; the earlier of the two stores what both need. */
  absorb(later: Draft, how: Fit): void {
    this.#absorb(later, how);
    this.#note();
  }

  #absorb(later: Draft, how: Fit): void {
    if (how === "epilogue") {
      const reduce = this.reduce!;
      reduce.stores.push(...this.#take(later, later.list.nodes, reduce.list, reduce.stores, later.stores));
      return;
    }
    const place: number[] = [];
    const taken = this.#take(later, later.list.nodes, this.list, this.stores, later.stores, place);
    this.stores = [...this.stores, ...taken];
    const { reduce: other } = later;
    if (other === undefined) return;
    this.reduce ??= { axes: other.axes, reductions: [], list: new NodeList(), stores: [] };
    const { reductions, list, stores } = this.reduce;
    const first = other.reductions.map(({ fn, node, dtype }) => {
      const moved = { fn, node: place[node], dtype };
      const known = reductions.findIndex((r) => r.fn === fn && r.node === moved.node);
      return known >= 0 ? known : reductions.push(moved) - 1;
    });
    stores.push(...this.#take(later, other.list.nodes, list, stores, other.stores, [], first));
  }

  /** Stops storing a value that nothing reads any more. */
  drop(output: ValueId): void {
    this.stores = this.stores.filter((store) => store.output !== output);
    if (this.reduce !== undefined) {
      this.reduce.stores = this.reduce.stores.filter((store) => store.output !== output);
    }
    this.#note();
  }

  /** Outputs are asked for much more often than they change. */
  #note(): void {
    this.outputs = [...this.stores, ...this.reduce?.stores ?? []].map(({ output }) => output);
  }

  /**
   * Whether `output` may be written over `input`: the nodes it is computed among read of that only each point's own
   * element, and the others nothing.
   */
  mayOverwrite(input: ValueId, output: ValueId): boolean {
    const index = this.inputs.indexOf(input);
    const { nodes } = this.list;
    const epilogue = this.reduce?.list.nodes ?? [];
    return this.stores.some((store) => store.output === output)
      ? readsOwn(nodes, index, this.space) && !readsAny(epilogue, index)
      : readsOwn(epilogue, index, this.outer) && !readsAny(nodes, index);
  }

  /** The kernel as it stands. */
  kernel(): Kernel {
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

  /** Adds nodes of a later kernel to a list, with what this one stores in place of loads of it; gives its stores. */
  #take(
    later: Draft,
    nodes: readonly Node[],
    into: NodeList,
    known: readonly Store[],
    stores: readonly Store[],
    place: number[] = [],
    reductions: readonly number[] = [],
  ): Store[] {
    for (const node of nodes) place.push(this.#translate(later, node, into, known, place, reductions));
    return stores.map(({ node, output }) => ({ node: place[node], output }));
  }

  #translate(
    later: Draft,
    node: Node,
    into: NodeList,
    known: readonly Store[],
    place: readonly number[],
    reductions: readonly number[],
  ): number {
    switch (node.kind) {
      case "load": {
        const value = later.inputs[node.input];
        const own = known.find(({ output }) => output === value);
        return own?.node ?? into.add({ ...node, input: this.#input(value) });
      }
      case "randomBits":
        return into.add({ ...node, key: this.#input(later.inputs[node.key]) });
      case "reduced":
        return into.add({ ...node, index: reductions[node.index] });
      default:
        return into.add(
          "args" in node ? { ...node, args: node.args.map((arg) => place[arg]) } as unknown as Node : node,
        );
    }
  }

  #input(value: ValueId): number {
    const index = this.inputs.indexOf(value);
    return index >= 0 ? index : this.inputs.push(value) - 1;
  }
}

function same(a: readonly number[], b: readonly number[]): boolean {
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
