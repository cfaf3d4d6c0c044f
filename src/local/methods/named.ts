import { LocalgradError } from "../../base/errors.ts";
import { expectKind, expectTaken, shared, shown } from "../../base/expect.ts";
import type { Method } from "../method.ts";
import type { AugLocalOptions } from "./aug_local.ts";
import { contSup, type ContSupOptions } from "./cont_sup.ts";
import type { DglOptions } from "./dgl.ts";
import type { InfoProOptions } from "./infopro.ts";
import { hpff, type HpffOptions } from "./hpff.ts";
import type { MlaanOptions } from "./mlaan.ts";
import { man, type ManOptions } from "./man.ts";
import { manPlusPlus, type ManPlusPlusOptions } from "./man_plus_plus.ts";
import * as index from "./methods.ts";
import type { PredSimOptions } from "./predsim.ts";
import { sgr, type SgrOptions } from "./sgr.ts";

/** The options of all methods, for methods made by name; each takes only its own. */
export interface MethodOptions
  extends
    DglOptions,
    PredSimOptions,
    InfoProOptions,
    AugLocalOptions,
    ManOptions,
    ManPlusPlusOptions,
    ContSupOptions,
    SgrOptions,
    HpffOptions,
    MlaanOptions {}

/** Methods that wrap another one: those that come right before its name, and those that come before all. */
const fronts = { man, manPlusPlus } as const;
const outermost = { contSup, sgr, hpff } as const;

/** A function that makes a method. */
export type MethodMaker = (options?: MethodOptions) => Method;

/**
 * Returns makers by name: those of the index, each alone and, if it has local losses, after `man+` and `manPlusPlus+`, and
 * all of these after `contSup+`, `sgr+` and `hpff+`.
 */
export function methodsByName(
  makers: { readonly [name: string]: unknown },
): ReadonlyMap<string, MethodMaker> {
  const plain = Object.entries(makers).filter((entry): entry is [string, MethodMaker] =>
    !(entry[0] in fronts) && !(entry[0] in outermost)
  );
  const local = plain.filter(([, make]) => {
    const { auxiliary, cascade } = make();
    return auxiliary !== undefined && cascade === undefined; // cascades wrap, but are not wrapped
  });
  const inFront = wrappedIn(fronts, local);
  return new Map([
    ...plain,
    ["endToEnd+checkpoint", () => index.endToEnd({ checkpoint: true })],
    ...[...inFront, ...wrappedIn(outermost, [...local, ...inFront])].map(checked),
  ]);
}

/** Makers of each method in each wrapper. */
function wrappedIn(
  wrappers: { readonly [name: string]: (method: Method, options: MethodOptions) => Method },
  makers: readonly (readonly [string, MethodMaker])[],
): [string, MethodMaker][] {
  return Object.entries(wrappers).flatMap(([front, wrap]) =>
    makers.map(([name, make]): [string, MethodMaker] => [
      `${front}+${name}`,
      (options = {}) => wrap(make(options), options),
    ])
  );
}

/** A maker that refuses options which none of the methods it makes takes. */
function checked([name, make]: readonly [string, MethodMaker]): [string, MethodMaker] {
  return [name, (options = {}) => {
    const own = shared(options);
    const method = make(own);
    expectTaken(name, own);
    return method;
  }];
}

const known = methodsByName(index);

/** The name of a method with a local loss that does not wrap another. */
export type PlainMethodName = Exclude<
  keyof typeof index,
  "endToEnd" | "man" | "manPlusPlus" | "contSup" | "sgr" | "hpff" | "mlaan"
>;

/** The name of a method with a local loss, alone, or after `man+` or `manPlusPlus+`. */
export type LocalMethodName = PlainMethodName | `${"man" | "manPlusPlus"}+${PlainMethodName}`;

/** A method's name, such as `dgl`, `man+dgl` or `sgr+man+dgl`. */
export type MethodName =
  | "endToEnd"
  | "mlaan"
  | "endToEnd+checkpoint"
  | LocalMethodName
  | `${"contSup" | "sgr" | "hpff"}+${LocalMethodName}`;

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
