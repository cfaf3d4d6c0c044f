import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";
import { type Tree, treeFlatten } from "../trace/tree.ts";

/**
 * Values under names, nested: what a network's parameters are. `layer1.0.conv1.weight` is the value at
 * `tree["layer1"]["0"]["conv1"]["weight"]`.
 */
export type Named<T> = { readonly [name: string]: T | Named<T> };

/** `tree` under a dotted path: `nest("layer1.0", t)` is `{ layer1: { "0": t } }`. */
export function nest<T>(path: string, tree: Named<T> | T): Named<T> {
  expectKind("nest: the path", path, "string");
  const names = path.split(".");
  return names.reduceRight<Named<T> | T>((inner, name) => ({ [name]: inner }), tree) as Named<T>;
}

/** The subtree at a dotted path; empty where there is none, as layers without parameters have. */
export function descend<T>(tree: Named<T>, path: string): Named<T> {
  expectKind("descend: the tree", tree, "object");
  expectKind("descend: the path", path, "string");
  let node = tree;
  for (const name of path.split(".")) {
    if (node[name] === undefined) return {};
    node = node[name] as Named<T>;
  }
  return node;
}

/** The union of trees that share no value; two values at one path are refused. */
export function merge<T>(...trees: readonly Named<T>[]): Named<T> {
  for (const tree of trees) {
    expectKind("merge: a tree", tree, "object");
    treeFlatten(tree as Tree<T>); // refuses one that contains itself
  }
  return united(trees);
}

function united<T>(trees: readonly Named<T>[]): Named<T> {
  const result: { [name: string]: T | Named<T> } = {};
  for (const tree of trees) {
    for (const [name, value] of Object.entries(tree)) {
      if (result[name] === undefined) result[name] = value;
      else if (isNamed(result[name]) && isNamed(value)) {
        result[name] = united([result[name] as Named<T>, value as Named<T>]);
      } else throw new LocalgradError(`two parameters are both named ${JSON.stringify(name)}; rename one`);
    }
  }
  return result;
}

/** The part of `tree` that has a place in `structure`, in the order of `structure`. */
export function select<T>(tree: Named<T>, structure: Named<unknown>): Named<T> {
  expectKind("select: the tree", tree, "object");
  expectKind("select: the structure", structure, "object");
  treeFlatten(structure as Tree<unknown>); // refuses one that contains itself
  return selected(tree, structure);
}

function selected<T>(tree: Named<T>, structure: Named<unknown>): Named<T> {
  const result: { [name: string]: T | Named<T> } = {};
  for (const [name, inner] of Object.entries(structure)) {
    const value = tree[name];
    if (value === undefined) throw new LocalgradError(`there is no ${JSON.stringify(name)} in this tree`);
    result[name] = isNamed(inner) ? selected(value as Named<T>, inner as Named<unknown>) : value;
  }
  return result;
}

/** Whether a value is a level of a tree rather than a leaf: a plain object. */
function isNamed(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
