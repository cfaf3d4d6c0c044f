import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind, shown } from "../base/expect.ts";
import { keysOf } from "../base/keys.ts";
import type { Aval } from "../trace/dtype.ts";
import type { Operand, Tensor } from "../trace/tensor.ts";
import { type Flat, type Tree, treeFlatten, treeUnflatten } from "../trace/tree.ts";
import { normOf } from "./norm.ts";
import {
  described,
  expectOptimizer,
  type Optimizer,
  type Parameter,
  type Scalars,
  type Slots,
  type Updated,
} from "./optimizer.ts";

/**
 * Updates each parameter with the optimizer of its group. `rule` names the group of a parameter by its path and shape; it
 * must depend on nothing else. Slots of the same name share a tree, so a checkpoint has one `optimizer.SLOT.PARAMETER`
 * for each.
 *
 * @throws {LocalgradError} in use, if the rule names a group that there is not.
 *
 * @example
 * ```ts
 * import { HostArray, optim } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * // Classifiers learn ten times as fast, by AdamW.
 * const optimizer = optim.grouped(({ path }) => path.includes("fc.") ? "classifiers" : "rest", {
 *   classifiers: optim.scaled(optim.adamw(), 10),
 *   rest: optim.sgd({ momentum: 0.9 }),
 * });
 * const slots = optim.zeroSlots(optimizer, {
 *   conv: { weight: new HostArray(new Float32Array(108), [4, 3, 3, 3]) },
 *   fc: { weight: new HostArray(new Float32Array(40), [10, 4]) },
 * });
 * assertEquals(Object.keys(slots), ["mean", "square", "momentum"]);
 * assertEquals(Object.keys(slots["momentum"]), ["conv"]);
 * ```
 */
export function grouped<G extends string>(
  rule: (parameter: Parameter) => G,
  groups: { readonly [group in G]: Optimizer },
): Optimizer {
  expectKind("grouped: the rule", rule, "function");
  expectKind("grouped: the groups", groups, "object");
  const names = keysOf(groups);
  for (const name of names) expectOptimizer(`grouped: ${name}`, groups[name]);
  const groupOf = (parameter: Parameter): G => {
    const group = rule(parameter);
    if (Object.hasOwn(groups, group)) return group;
    throw new LocalgradError(
      `grouped: the rule puts ${parameter.path} into ${shown(group)}; the groups are ${names.join(", ")}`,
    );
  };
  /** The parameters of each group that has any. */
  const parted = <T extends Aval>(params: Tree<T>) => {
    const flat = treeFlatten<T>(params);
    const assigned = flat.leaves.map(({ shape }, i) => groupOf({ path: at(flat.paths, i), shape }));
    return names.filter((name) => assigned.includes(name)).map((name) => ({
      name,
      optimizer: groups[name],
      take: <U>(tree: Tree<U>) => part(treeFlatten<U>(tree), (i) => assigned[i] === name),
      own: part(flat, (i) => assigned[i] === name),
    }));
  };
  return {
    name: "grouped",
    options: {
      rule: rule.name,
      groups: Object.fromEntries(names.map((name) => [name, described(groups[name])])),
    },
    slots: (params) => joined(params, parted(params).map(({ optimizer, own }) => optimizer.slots(own))),
    scalars: (step, learningRate) =>
      Object.fromEntries(
        names.flatMap((name) =>
          Object.entries(groups[name].scalars(step, learningRate)).map(([scalar, value]) => [
            `${name}.${scalar}`,
            value,
          ])
        ),
      ),
    update<P>(params: P, gradients: P, slots: Slots<Tensor>, scalars: Scalars<Operand>): Updated<P> {
      const tree = params as Tree<Tensor>;
      const updated = parted(tree).map(({ name, optimizer, take, own }) =>
        optimizer.update(
          own,
          take(gradients as Tree<Tensor>),
          ownSlots(optimizer.slots(own), slots),
          ownScalars(name, scalars),
        )
      );
      const norms = updated.flatMap(({ norm }): Tensor | Tensor[] => norm ?? []);
      return {
        params: rebuilt(tree, leavesByPath(updated.map(({ params }) => params))) as P,
        slots: joined(tree, updated.map(({ slots }) => slots)),
        ...(norms.length === 0 ? {} : { norm: normOf(norms) }),
      };
    },
    names: names.flatMap((name) => groups[name].names ?? []),
    kindOf(parameter) {
      const group = groupOf(parameter);
      return `${group} ${groups[group].kindOf?.(parameter) ?? ""}`;
    },
  };
}

/** The leaves of a tree whose index passes; levels without any are left out. */
function part<T>({ leaves, structure }: Flat<T>, keep: (index: number) => boolean): Tree<T> {
  const visit = (node: Tree<number>): Tree<T> | undefined => {
    if (typeof node === "number") return keep(node) ? at(leaves, node) : undefined;
    const kept = Object.entries(node).flatMap(([name, child]): [string, Tree<T>][] => {
      const inner = visit(child);
      return inner === undefined ? [] : [[name, inner]];
    });
    return kept.length === 0 ? undefined : Object.fromEntries(kept);
  };
  return visit(structure) ?? {};
}

function leavesByPath<T>(trees: readonly Tree<T>[]): Map<string, T> {
  return new Map(trees.flatMap((tree) => {
    const { leaves, paths } = treeFlatten<T>(tree);
    return leaves.map((leaf, i): [string, T] => [at(paths, i), leaf]);
  }));
}

/** Returns the tree with the leaves at the same paths. */
function rebuilt<T>(tree: Tree<unknown>, leaves: ReadonlyMap<string, T>): Tree<T> {
  const { paths, structure } = treeFlatten(tree);
  return treeUnflatten(structure, paths.map((path) => leafAt(leaves, path)));
}

function leafAt<T>(leaves: ReadonlyMap<string, T>, path: string): T {
  const leaf = leaves.get(path);
  if (leaf === undefined) {
    throw new LocalgradError(
      `grouped: there is no value for ${path}; pass slots from zeroSlots() or the step before`,
    );
  }
  return leaf;
}

/** Joins the slots of groups by name, in the order of the parameters. */
function joined<T>(params: Tree<unknown>, groups: readonly Slots<T>[]): Slots<T> {
  const flat = treeFlatten(params);
  const names = [...new Set(groups.flatMap((slots) => Object.keys(slots)))];
  return Object.fromEntries(names.map((name) => {
    const leaves = leavesByPath(groups.flatMap((slots) => slots[name] ?? []));
    const known = (i: number) => leaves.has(at(flat.paths, i));
    const values = flat.paths.map((path) => leaves.get(path));
    return [name, part({ ...flat, leaves: values as T[] }, known)];
  }));
}

/** The slots of a group, of the given structure, among those of all groups. */
function ownSlots(structure: Slots<unknown>, slots: Slots<Tensor>): Slots<Tensor> {
  return Object.fromEntries(
    Object.entries(structure).map(([name, tree]) => [name, rebuilt(tree, leavesByPath([slots[name] ?? {}]))]),
  );
}

function ownScalars(group: string, scalars: Scalars<Operand>): Scalars<Operand> {
  const prefix = `${group}.`;
  return Object.fromEntries(
    Object.entries(scalars).flatMap(([name, value]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : []
    ),
  );
}
