import type { Step } from "../../compile/plan.ts";
import type { Aval } from "../../trace/dtype.ts";
import { isCollectiveInstruction, type StructuredInstruction } from "../../trace/program.ts";
import { fused } from "./fused.ts";
import type { Launches } from "./routine.ts";
import { structured } from "./structured.ts";

/** The launches of a structured op by another library; undefined for those that stay with WebAssembly. */
export type Library = (instruction: StructuredInstruction, values: readonly Aval[]) => Launches | undefined;

const NONE: Launches = { launches: [], workspace: 0 };

/** The launches of steps: by a library where there is one that takes them, else by WebAssembly. */
export class Lowering {
  readonly #library: Library | undefined;
  /** Those of steps seen before: each step is lowered when it is planned, and again when its plan is compiled. */
  readonly #known = new WeakMap<object, Launches>();

  /** Lowers to WebAssembly what the library does not take. */
  constructor(library?: Library) {
    this.#library = library;
  }

  /** The launches of a step, and the workspace they need. */
  launches(step: Step, values: readonly Aval[]): Launches {
    if (step.kind === "kernel") return this.#once(step.kernel, () => fused(step.kernel, values));
    const { instruction } = step;
    if (isCollectiveInstruction(instruction)) return NONE; // not the threads' work
    return this.#once(
      instruction,
      () => this.#library?.(instruction, values) ?? structured(instruction, values),
    );
  }

  #once(key: object, lower: () => Launches): Launches {
    let launches = this.#known.get(key);
    if (launches === undefined) this.#known.set(key, launches = lower());
    return launches;
  }
}

/** All steps as WebAssembly. */
export const webAssembly = new Lowering();
