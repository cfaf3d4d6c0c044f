/**
 * Trees: nested arrays and plain objects whose leaves are tensors, device arrays or numbers. Parameters, optimizer
 * state and the arguments of a traced function are trees. Each leaf has a path, such as `layer1.0.conv1.weight`.
 *
 * @module
 */

import { at } from "../base/at.ts";
import { LocalgradError } from "../base/errors.ts";
import { expectKind } from "../base/expect.ts";

/** A leaf, or an array or plain object of trees. */
export type Tree<T> = T | readonly Tree<T>[] | { readonly [key: string]: Tree<T> };

/** A flattened tree: its leaves in order, the path of each, and the structure to rebuild it. */
export interface Flat<T> {
  /** Leaves, in key order. */
  readonly leaves: T[];
  /** Path of each leaf: keys joined by dots; empty if the tree is a single leaf. */
  readonly paths: string[];
  /** The tree with each leaf replaced by its index. */
  readonly structure: Tree<number>;
}

/** Tests whether a value is an array or a plain object, and so a node of a tree rather than a leaf. */
export function isNode(tree: unknown): tree is Record<string, unknown> | readonly unknown[] {
  if (Array.isArray(tree)) return true;
  if (typeof tree !== "object" || tree === null) return false;
  const prototype = Object.getPrototypeOf(tree);
  return prototype === Object.prototype || prototype === null;
}

/**
 * Flattens a tree. Properties that are undefined are left out.
 *
 * @param isLeaf Recognises leaves that are plain objects or arrays; default: there are none.
 * @throws {LocalgradError} if a node contains itself.
 */
export function treeFlatten<T>(tree: Tree<T>, isLeaf: (node: unknown) => boolean = () => false): Flat<T> {
  expectKind("treeFlatten: isLeaf", isLeaf, "function");
  const leaves: T[] = [];
  const paths: string[] = [];
  const ancestors: unknown[] = []; // of the node being visited
  function visit(node: unknown, path: string): Tree<number> {
    if (isLeaf(node) || !isNode(node)) {
      paths.push(path);
      return leaves.push(node as T) - 1;
    }
    if (ancestors.includes(node)) {
      throw new LocalgradError(
        `a tree contains itself at "${path}"; trees are nested objects and arrays without cycles`,
      );
    }
    ancestors.push(node);
    const join = (key: string | number) => path === "" ? `${key}` : `${path}.${key}`;
    let result: Tree<number>;
    if (Array.isArray(node)) result = node.map((child, index) => visit(child, join(index)));
    else {
      const entries: Record<string, Tree<number>> = result = {};
      for (const [key, child] of Object.entries(node)) {
        if (child !== undefined) entries[key] = visit(child, join(key));
      }
    }
    ancestors.pop();
    return result;
  }
  const structure = visit(tree, "");
  return { leaves, paths, structure };
}

/** Rebuilds a tree from its structure and leaves, as {@link treeFlatten} returns them. */
export function treeUnflatten<T>(structure: Tree<number>, leaves: readonly T[]): Tree<T> {
  if (typeof structure === "number") return at(leaves, structure);
  if (Array.isArray(structure)) return structure.map((child) => treeUnflatten(child, leaves));
  const result: Record<string, Tree<T>> = {};
  for (const [key, child] of Object.entries(structure)) {
    result[key] = treeUnflatten(child as Tree<number>, leaves);
  }
  return result;
}

/** The leaves of a tree, in key order. */
export function treeLeaves<T>(tree: Tree<T>): T[] {
  return treeFlatten(tree).leaves;
}

/** The paths of a tree's leaves, in the same order. */
export function treePaths<T>(tree: Tree<T>): string[] {
  return treeFlatten(tree).paths;
}

/**
 * Applies `f` to corresponding leaves of trees of the same structure. The result has the type of the first tree with
 * its leaves replaced.
 *
 * @example
 * ```ts
 * import { treeMap } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(treeMap((a: number, b: number) => a + b, { x: 1, y: [2] }, { x: 10, y: [20] }), { x: 11, y: [22] });
 * ```
 *
 * @throws {LocalgradError} if the structures differ; the message names the first path where they do.
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
  const leaves = head.leaves.map((leaf, i) => f(leaf, ...others.map((other) => at(other.leaves, i))));
  return treeUnflatten(head.structure, leaves) as Mapped<R, T, U>;
}

/** The type of tree `R` with its leaves of type `T` replaced by `U`. */
export type Mapped<R, T, U> = [Tree<T>] extends [R] ? Tree<U> // any tree; TypeScript would recurse without end
  : R extends T ? U
  : { [K in keyof R]: Mapped<R[K], T, U> };
