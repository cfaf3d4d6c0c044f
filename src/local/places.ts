/**
 * Names in a training step, which are built and parsed only here: scopes of modules in a traced program, and paths of
 * auxiliary networks in trees of parameters and state.
 *
 * @module
 */

import { type Named, replaced } from "../nn/named.ts";

/** Returns the scope in which module `index`, from 0, is traced: `module 1`, …. */
export function moduleScope(index: number): string {
  return `module ${index + 1}`;
}

/** Returns the index of the module that a scope belongs to; undefined outside modules. */
export function moduleIn(scope: string): number | undefined {
  const number = /^module (\d+)/.exec(scope)?.[1];
  return number === undefined ? undefined : Number(number) - 1;
}

/** The name of the subtree that holds the auxiliary networks. No part of a network may have it. */
export const AUXILIARIES = "local";

/** The part of an auxiliary network that is MAN's average of the next block. */
export const EMA = "ema";

/** The part of an auxiliary network that is MAN's learnable bias. */
export const BIAS = "bias";

/** Returns the path of the auxiliary network at boundary `index`, from 0. */
export function placeOf(index: number): string {
  return `${AUXILIARIES}.${index}`;
}

/**
 * Returns the part of an auxiliary network that a value belongs to, such as `classifier` for the path
 * `local.3.classifier.fc.weight`; undefined for values of the network itself.
 */
export function auxiliaryPart(path: string): string | undefined {
  const [root, , part = ""] = path.split(".");
  return root === AUXILIARIES ? part : undefined;
}

/** Returns a tree with another subtree for the auxiliary network at boundary `index`. */
export function withAuxiliary<T>(tree: Named<T>, index: number, subtree: Named<T>): Named<T> {
  return replaced(tree, placeOf(index), subtree);
}
