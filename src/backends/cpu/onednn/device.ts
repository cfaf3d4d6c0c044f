/**
 * oneDNN as one CPU device uses it.
 *
 * @module
 */
import { addressOf } from "../../../../ffi/memory.ts";
import { onednnSymbols, openmpSymbols } from "../../../../ffi/onednn.ts";
import { type OnednnLibrary, openOnednn } from "../../../../ffi/onednn_library.ts";
import type { Aval } from "../../../trace/dtype.ts";
import type { StructuredInstruction } from "../../../trace/program.ts";
import type { Launches } from "../routine.ts";
import type { wayOf } from "./choice.ts";
import { OnednnEngine } from "./engine.ts";
import { onednnLaunches } from "./lower.ts";
import type { PrimitivesSetup } from "./primitives.ts";

/** The library, opened for one device. */
export class OnednnDevice {
  /** The library with its version and instruction set. */
  readonly description: string;
  /** The widest instruction set that it uses. */
  readonly instructions: string;
  /** Whether that set multiplies bf16. */
  readonly bf16: boolean;
  readonly #opened: NonNullable<OnednnLibrary["opened"]>;
  readonly #engine: OnednnEngine;
  readonly #closeLibrary: () => void;

  /** Starts an engine of an open library, which it closes in the end. */
  constructor(opened: NonNullable<OnednnLibrary["opened"]>, { report, close }: OnednnLibrary) {
    const { version, instructions = "an unknown instruction set", bf16 = false } = report;
    this.instructions = instructions;
    this.bf16 = bf16;
    this.#closeLibrary = close;
    this.description = `oneDNN ${version} (${instructions})`;
    this.#opened = opened;
    this.#engine = new OnednnEngine(opened);
  }

  /**
   * The launches of an op by oneDNN; undefined for those that stay with WebAssembly. `choose` replaces the choice, to
   * measure one.
   */
  readonly launches = (
    instruction: StructuredInstruction,
    values: readonly Aval[],
    choose?: typeof wayOf,
  ): Launches | undefined => onednnLaunches(this.#engine, instruction, values, choose);

  /** The data that a thread needs to execute primitives on this memory, which does not move when it grows. */
  setup(memory: WebAssembly.Memory): PrimitivesSetup {
    const { path, openmp } = this.#opened;
    const shared = new Uint8Array(memory.buffer) as Uint8Array<ArrayBuffer>; // FFI takes shared memory too
    return {
      path,
      symbols: openmp === undefined ? onednnSymbols : { ...onednnSymbols, ...openmpSymbols },
      engine: this.#engine.handle,
      base: Number(addressOf(shared)),
    };
  }

  /** Frees what it has made. All threads must have ended. */
  close(): void {
    this.#engine.close();
    this.#closeLibrary();
  }
}

/** oneDNN for a device, or the reason why it cannot be used. */
export function openOnednnDevice(): OnednnDevice | { readonly reason: string; readonly remedy: string } {
  const library = openOnednn();
  const { opened, report, close } = library;
  if (opened !== undefined) return new OnednnDevice(opened, library);
  close();
  return { reason: `oneDNN: ${report.problem}`, remedy: `${report.remedy}, or take the engine "wasm"` };
}
