/**
 * Trees: nested arrays and plain objects whose leaves are tensors, device arrays or numbers. Parameters, optimizer
 * state and a function's arguments are trees; a leaf is known by its path, such as `layer1.0.conv1.weight`.
 *
 * @module
 */

import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";

/** A leaf, or an array or plain object of trees. */
export type Tree<T> = T | readonly Tree<T>[] | { readonly [key: string]: Tree<T> };

/** A tree taken apart: leaves in order, the path of each, and what is needed to put it together again. */
export interface Flat<T> {
  /** Leaves, in the order of keys. */
  readonly leaves: T[];
  /** Path of each leaf: keys joined by dots; empty where the tree is one leaf. */
  readonly paths: string[];
  /** The same tree with each leaf's index in its place. */
  readonly structure: Tree<number>;
}

function isNode(tree: unknown): tree is Record<string, unknown> | readonly unknown[] {
  if (Array.isArray(tree)) return true;
  if (typeof tree !== "object" || tree === null) return false;
  const prototype = Object.getPrototypeOf(tree);
  return prototype === Object.prototype || prototype === null;
}

/**
 * Takes a tree apart. Entries that are undefined are left out. `isLeaf` tells leaves that are plain objects from nodes.
 * Raises a LocalgradError where a node contains itself.
 */
export function treeFlatten<T>(tree: Tree<T>, isLeaf: (node: unknown) => boolean = () => false): Flat<T> {
  expectKind("treeFlatten: isLeaf", isLeaf, "function");
  const leaves: T[] = [];
  const paths: string[] = [];
  const around: unknown[] = []; // the nodes that contain this one
  function visit(node: unknown, path: string): Tree<number> {
    if (isLeaf(node) || !isNode(node)) {
      paths.push(path);
      return leaves.push(node as T) - 1;
    }
    if (around.includes(node)) {
      throw new LocalgradError(
        `a tree contains itself at "${path}"; trees are nested objects and arrays without cycles`,
      );
    }
    around.push(node);
    const join = (key: string | number) => path === "" ? `${key}` : `${path}.${key}`;
    let result: Tree<number>;
    if (Array.isArray(node)) result = node.map((child, index) => visit(child, join(index)));
    else {
      const entries: Record<string, Tree<number>> = result = {};
      for (const [key, child] of Object.entries(node)) {
        if (child !== undefined) entries[key] = visit(child, join(key));
      }
    }
    around.pop();
    return result;
  }
  const structure = visit(tree, "");
  return { leaves, paths, structure };
}

/** Puts a tree together from its structure and leaves. */
export function treeUnflatten<T>(structure: Tree<number>, leaves: readonly T[]): Tree<T> {
  if (typeof structure === "number") return leaves[structure];
  if (Array.isArray(structure)) return structure.map((child) => treeUnflatten(child, leaves));
  const result: Record<string, Tree<T>> = {};
  for (const [key, child] of Object.entries(structure)) {
    result[key] = treeUnflatten(child as Tree<number>, leaves);
  }
  return result;
}

/** The leaves of a tree, in the order of keys. */
export function treeLeaves<T>(tree: Tree<T>): T[] {
  return treeFlatten(tree).leaves;
}

/** The paths of a tree's leaves, in the same order. */
export function treePaths<T>(tree: Tree<T>): string[] {
  return treeFlatten(tree).paths;
}

/**
 * A tree of what `f` makes of corresponding leaves of trees that have the same structure; raises a LocalgradError
 * that names the first place where they differ. The result has the type of the first tree with its leaves replaced.
 *
 * @example
 * ```ts
 * import { treeMap } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(treeMap((a: number, b: number) => a + b, { x: 1, y: [2] }, { x: 10, y: [20] }), { x: 11, y: [22] });
 * ```
 */
export function treeMap<T, U, R extends Tree<T>>(
  f: (...leaves: T[]) => U,
  first: R,
  ...rest: readonly Tree<T>[]
): Mapped<R, T, U> {
  expectKind("treeMap: f", f, "function");
  const head = treeFlatten<T>(first);
  const others = rest.map((tree) => treeFlatten<T>(tree));
  for (const [index, other] of others.entries()) {
    const length = Math.max(head.paths.length, other.paths.length);
    for (let i = 0; i < length; i++) {
      if (head.paths[i] !== other.paths[i]) {
        throw new LocalgradError(
          `treeMap: tree ${index + 2} differs from the first at ${
            JSON.stringify(head.paths[i] ?? other.paths[i])
          }; all must have the same keys in the same order`,
        );
      }
    }
  }
  const leaves = head.leaves.map((leaf, i) => f(leaf, ...others.map((other) => other.leaves[i])));
  return treeUnflatten(head.structure, leaves) as Mapped<R, T, U>;
}

/** The type of tree `R` with its leaves of type `T` replaced by `U`. */
export type Mapped<R, T, U> = [Tree<T>] extends [R] ? Tree<U> // any tree: TypeScript would recur without end
  : R extends T ? U
  : { [K in keyof R]: Mapped<R[K], T, U> };
