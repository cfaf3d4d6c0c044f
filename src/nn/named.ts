import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";
import { type Tree, treeFlatten } from "../trace/tree.ts";

/**
 * Values under names, nested, such as a network's parameters. `layer1.0.conv1.weight` is the value at
 * `tree["layer1"]["0"]["conv1"]["weight"]`.
 */
export type Named<T> = { readonly [name: string]: T | Named<T> };

/**
 * The parent of a path whose last name joins several by `+`, and those names: `features.0+1` is the part of `features` that has
 * `0` and `1`. Undefined of any other path.
 */
function joined(path: string): { readonly parent: string; readonly names: readonly string[] } | undefined {
  const dot = path.lastIndexOf(".");
  const names = path.slice(dot + 1).split("+");
  return names.length < 2 || dot < 0 ? undefined : { parent: path.slice(0, dot), names };
}

/** The path of a name in the tree at a path, which may end in joined names as in {@link nest}. */
export function pathWithin(path: string, name: string): string {
  expectKind("pathWithin: the path", path, "string");
  expectKind("pathWithin: the name", name, "string");
  return `${joined(path)?.parent ?? path}.${name}`;
}

/**
 * Puts `tree` under a dotted path: `nest("layer1.0", t)` is `{ layer1: { "0": t } }`. A path may end in names joined by `+`,
 * for a tree of those: `nest("features.0+1", { "0": t, "1": u })` is `{ features: { "0": t, "1": u } }`.
 */
export function nest<T>(path: string, tree: Named<T> | T): Named<T> {
  expectKind("nest: the path", path, "string");
  return under(joined(path)?.parent ?? path, tree);
}

function under<T>(path: string, tree: Named<T> | T): Named<T> {
  const dot = path.lastIndexOf(".");
  const named = { [path.slice(dot + 1)]: tree };
  return dot < 0 ? named : under(path.slice(0, dot), named);
}

/**
 * Returns the subtree at a dotted path, which may end in joined names as in {@link nest}; empty where there is none, as for
 * layers without parameters.
 */
export function descend<T>(tree: Named<T>, path: string): Named<T> {
  expectKind("descend: the tree", tree, "object");
  expectKind("descend: the path", path, "string");
  const group = joined(path);
  const node = at(tree, group?.parent ?? path);
  if (group === undefined) return node;
  return Object.fromEntries(group.names.flatMap((name) => {
    const inner = node[name];
    return inner === undefined ? [] : [[name, inner]];
  }));
}

function at<T>(tree: Named<T>, path: string): Named<T> {
  let node = tree;
  for (const name of path.split(".")) {
    const inner = node[name];
    if (inner === undefined) return {};
    node = inner as Named<T>;
  }
  return node;
}

/**
 * Returns a tree with another subtree at a dotted path.
 *
 * @example
 * ```ts
 * import { nn } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(nn.replaced({ fc: { weight: 1, bias: 2 } }, "fc", { weight: 3 }), { fc: { weight: 3 } });
 * ```
 */
export function replaced<T>(tree: Named<T>, path: string, subtree: Named<T>): Named<T> {
  expectKind("replaced: the tree", tree, "object");
  expectKind("replaced: the path", path, "string");
  expectKind("replaced: the subtree", subtree, "object");
  const group = joined(path);
  if (group !== undefined) {
    return replaced(tree, group.parent, { ...descend(tree, group.parent), ...subtree });
  }
  const dot = path.indexOf(".");
  if (dot < 0) return { ...tree, [path]: subtree };
  const name = path.slice(0, dot);
  return { ...tree, [name]: replaced(descend(tree, name), path.slice(dot + 1), subtree) };
}

/** Returns the union of trees that share no value; refuses two values at one path. */
export function merge<T>(...trees: readonly Named<T>[]): Named<T> {
  for (const tree of trees) {
    expectKind("merge: a tree", tree, "object");
    refuseCycles(tree);
  }
  return united(trees);
}

function united<T>(trees: readonly Named<T>[]): Named<T> {
  const result: { [name: string]: T | Named<T> } = {};
  for (const tree of trees) {
    for (const [name, value] of Object.entries(tree)) {
      const other = result[name];
      if (other === undefined) result[name] = value;
      else if (isNamed(other) && isNamed(value)) result[name] = united([other, value]);
      else throw new LocalgradError(`two parameters are both named ${JSON.stringify(name)}; rename one`);
    }
  }
  return result;
}

/** Returns the part of `tree` that has a place in `structure`, in the order of `structure`. */
export function select<T>(tree: Named<T>, structure: Named<unknown>): Named<T> {
  expectKind("select: the tree", tree, "object");
  expectKind("select: the structure", structure, "object");
  refuseCycles(structure);
  return selected(tree, structure);
}

function selected<T>(tree: Named<T>, structure: Named<unknown>): Named<T> {
  const result: { [name: string]: T | Named<T> } = {};
  for (const [name, inner] of Object.entries(structure)) {
    const value = tree[name];
    if (value === undefined) throw new LocalgradError(`there is no ${JSON.stringify(name)} in this tree`);
    result[name] = isNamed(inner) ? selected(value as Named<T>, inner) : value;
  }
  return result;
}

/** Refuses a tree that contains itself. */
function refuseCycles(tree: Tree<unknown>): void {
  treeFlatten(tree);
}

/** Tests whether a value is a level of a tree rather than a leaf: a plain object. */
function isNamed<T>(value: T | Named<T>): value is Named<T> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
