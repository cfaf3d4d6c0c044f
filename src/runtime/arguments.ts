import { LocalgradError } from "../base/errors.ts";
import { formatAval } from "../trace/dtype.ts";
import { expectHostData, HostArray, isHostData } from "../trace/host_array.ts";
import { Tensor } from "../trace/tensor.ts";
import { isNode, treeFlatten } from "../trace/tree.ts";
import type { Device } from "./arrays.ts";
import { DeviceArray } from "./device_array.ts";
import { type Held, heldBy } from "./held.ts";

/** A part of the arguments: a leaf, or a tree that is held and has several. */
export type Part = DeviceArray | HostArray | Held;

/** The arguments of a call, without their trees. */
export interface Arguments {
  readonly parts: readonly Part[];
  /** Pieces of a text that tells the structure, shapes and dtypes; equal pieces are mostly the same string. */
  readonly key: readonly string[];
  /** The device of the first part that has one. */
  readonly device: Device | undefined;
  /** Throws the error of the first leaf that is not an array. */
  check(): void;
}

/** Lists the parts of arguments; undefined if a leaf is a tensor. `name` is the function's, for messages. */
export function argumentsOf(args: readonly unknown[], name: string): Arguments | undefined {
  const parts: Part[] = [];
  const key: string[] = [];
  const ancestors: object[] = [];
  let device: Device | undefined;
  let leaves = 0, symbolic = false;
  let wrong: { readonly leaf: unknown; readonly index: number } | undefined;

  function visit(node: unknown): void {
    if (node instanceof DeviceArray) {
      device ??= node.device;
      key.push(formatAval(node));
      parts.push(node);
      leaves++;
    } else if (node instanceof Tensor) symbolic = true;
    else if (isNode(node)) visitNode(node);
    else {
      const array = hostArrayOf(node);
      if (array === undefined) wrong ??= { leaf: node, index: leaves };
      else {
        key.push(formatAval(array));
        parts.push(array);
      }
      leaves++;
    }
  }

  function visitNode(node: object): void {
    const memory = heldBy(node);
    if (memory !== undefined) {
      device ??= memory.device;
      key.push(memory.layout.key);
      parts.push(memory);
      leaves += memory.avals.length;
      return;
    }
    if (ancestors.includes(node)) treeFlatten<unknown>(args); // throws: a tree contains itself
    ancestors.push(node);
    if (Array.isArray(node)) {
      key.push("[");
      node.forEach((child, i) => {
        if (i > 0) key.push(",");
        visit(child);
      });
      key.push("]");
    } else {
      key.push("{");
      let first = true;
      for (const [name, child] of Object.entries(node)) {
        if (child === undefined) continue;
        key.push(`${first ? "" : ","}${JSON.stringify(name)}:`);
        first = false;
        visit(child);
      }
      key.push("}");
    }
    ancestors.pop();
  }

  visit(args);
  const check = (): void => {
    if (wrong === undefined) return;
    refuse(wrong.leaf, `${name}: argument ${treeFlatten<unknown>(args).paths[wrong.index]}`);
  };
  return symbolic ? undefined : { parts, key, device, check };
}

/** A leaf from the host as an array; undefined if it is not one. */
function hostArrayOf(leaf: unknown): HostArray | undefined {
  if (leaf instanceof HostArray) return leaf;
  if (typeof leaf === "number") return new HostArray(Float32Array.of(leaf), []);
  return isHostData(leaf) ? new HostArray(leaf) : undefined;
}

/** Refuses a leaf that is not an array; `what` begins the message. */
function refuse(leaf: unknown, what: string): never {
  if (ArrayBuffer.isView(leaf) && !(leaf instanceof DataView)) expectHostData(leaf);
  const kind = leaf === null ? "null" : typeof leaf;
  throw new LocalgradError(`${what} is ${kind}; pass a device array, typed array or number`);
}
