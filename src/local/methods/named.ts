import { LocalgradError } from "../../base/errors.ts";
import { expectKind, expectTaken, shared, shown } from "../../base/expect.ts";
import type { Method } from "../method.ts";
import type { AugLocalOptions } from "./aug_local.ts";
import type { DglOptions } from "./dgl.ts";
import type { InfoProOptions } from "./infopro.ts";
import { man, type ManOptions } from "./man.ts";
import { manPlusPlus, type ManPlusPlusOptions } from "./man_plus_plus.ts";
import * as index from "./methods.ts";
import type { PredSimOptions } from "./predsim.ts";

/** The options of all methods, for methods made by name; each takes only its own. */
export interface MethodOptions
  extends DglOptions, PredSimOptions, InfoProOptions, AugLocalOptions, ManOptions, ManPlusPlusOptions {}

/** Methods that wrap another one. */
const wrappers = { man, manPlusPlus } as const;

/** A function that makes a method. */
export type MethodMaker = (options?: MethodOptions) => Method;

/** Returns makers by name: those of the index, each alone and, if it has local losses, after `man+` and `manPlusPlus+`. */
export function methodsByName(
  makers: { readonly [name: string]: unknown },
): ReadonlyMap<string, MethodMaker> {
  const plain = Object.entries(makers).filter((entry): entry is [string, MethodMaker] =>
    !(entry[0] in wrappers)
  );
  const local = plain.filter(([, make]) => make().auxiliary !== undefined);
  const wrapped = Object.entries(wrappers).flatMap(([front, wrap]) =>
    local.map(([name, make]): [string, MethodMaker] => [
      `${front}+${name}`,
      (options = {}) => {
        const own = shared(options);
        const method = wrap(make(own), own);
        expectTaken(method.name, own);
        return method;
      },
    ])
  );
  return new Map([
    ...plain,
    ["endToEnd+checkpoint", () => index.endToEnd({ checkpoint: true })],
    ...wrapped,
  ]);
}

const known = methodsByName(index);

/** A method's name, such as `dgl` or `man+dgl`. */
export type MethodName =
  | Exclude<keyof typeof index, "man" | "manPlusPlus">
  | "endToEnd+checkpoint"
  | `${"man" | "manPlusPlus"}+${Exclude<keyof typeof index, "man" | "manPlusPlus" | "endToEnd">}`;

/** The names of all methods. */
export const methodNames: readonly MethodName[] = [...known.keys()] as MethodName[];

/**
 * Makes a method by its name.
 *
 * @throws {LocalgradError} if there is no such method, or if it lacks one of the options.
 *
 * @example
 * ```ts
 * import { local } from "@localgrad/localgrad";
 * import { assertEquals } from "@std/assert";
 *
 * const method = local.methodNamed("man+dgl", { momentum: 0.99, head: "mlp" });
 * assertEquals(method.options["momentum"], 0.99);
 * ```
 */
export function methodNamed(name: MethodName, options: MethodOptions = {}): Method {
  expectKind("methodNamed: the options", options, "object");
  const make = known.get(name);
  if (make === undefined) {
    throw new LocalgradError(
      `there is no method ${shown(name)}; choose one of ${methodNames.join(", ")}`,
    );
  }
  const own = shared(options);
  const method = make(own);
  expectTaken(name, own);
  return method;
}
