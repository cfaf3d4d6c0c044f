/**
 * oneDNN as one CPU device uses it.
 *
 * @module
 */
import { addressOf } from "../../../../ffi/memory.ts";
import { onednnSymbols, openmpSymbols } from "../../../../ffi/onednn.ts";
import { ONEDNN_INSTALL, type OnednnLibrary, openOnednn } from "../../../../ffi/onednn_library.ts";
import { LibraryError } from "../../../../ffi/status.ts";
import { LocalgradError } from "../../../base/errors.ts";
import type { Aval } from "../../../trace/dtype.ts";
import type { StructuredInstruction } from "../../../trace/program.ts";
import type { Missing } from "../../backend.ts";
import type { Launches } from "../routine.ts";
import type { wayOf } from "./choice.ts";
import { OnednnEngine } from "./engine.ts";
import { onednnLaunches } from "./lower.ts";
import type { PrimitivesSetup } from "./primitives.ts";

/** The library, opened for one device. */
export class OnednnDevice {
  /** The library with its version, instruction set and file. */
  readonly description: string;
  /** The widest instruction set that it uses. */
  readonly instructions: string;
  /** Whether that set multiplies bf16. */
  readonly bf16: boolean;
  /** What the bits of its results depend on. */
  readonly arithmetic: string;
  readonly #opened: NonNullable<OnednnLibrary["opened"]>;
  readonly #engine: OnednnEngine;
  readonly #closeLibrary: () => void;

  /** Starts an engine of an open library, which it closes in the end. */
  constructor(opened: NonNullable<OnednnLibrary["opened"]>, { report, close }: OnednnLibrary) {
    const { version, instructions = "an unknown instruction set", bf16 = false } = report;
    this.instructions = instructions;
    this.bf16 = bf16;
    this.#closeLibrary = close;
    this.description = `oneDNN ${version} (${instructions}, ${opened.path})`;
    this.arithmetic = `oneDNN ${version} (${instructions})`;
    this.#opened = opened;
    this.#engine = new OnednnEngine(opened);
  }

  /** The library's file. */
  get path(): string {
    return this.#opened.path;
  }

  /**
   * The launches of an op by oneDNN; undefined for those that stay with WebAssembly. `choose` replaces the choice, to
   * measure one.
   */
  readonly launches = (
    instruction: StructuredInstruction,
    values: readonly Aval[],
    choose?: typeof wayOf,
  ): Launches | undefined => {
    try {
      return onednnLaunches(this.#engine, instruction, values, choose);
    } catch (error) {
      const revoked = error instanceof Deno.errors.NotCapable;
      if (!revoked && !(error instanceof LibraryError)) throw error;
      const what = revoked ? "oneDNN: the permission to use it was revoked" : error.message;
      // WebAssembly instead would change the bits of a run without a word.
      throw new LocalgradError(`${what}; take the engine "wasm" (LOCALGRAD_CPU=wasm)`, { cause: error });
    }
  };

  /** Tests whether it has a fast convolution here; throws where it cannot generate code, as if memory may not be executed. */
  get convolves(): boolean {
    const dtype = "f32", sizes = [1, 16, 8, 8], strides = [1024, 1, 128, 16];
    return this.#engine.convolution({
      kind: "forward",
      image: { dtype, sizes, strides },
      filter: { dtype, sizes: [16, 16, 3, 3], strides: [144, 1, 48, 16] },
      y: { dtype, sizes, strides },
      strides: [1, 1],
      dilates: [0, 0],
      before: [1, 1],
      after: [1, 1],
    }) !== undefined;
  }

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

/** The reason why a library that was found cannot be used. */
export function unusable(path: string, why: string): Missing {
  return { reason: `oneDNN: ${path} cannot be used: ${why}`, remedy: ONEDNN_INSTALL };
}

/** oneDNN for a device, or the reason why it cannot be used. */
export function openOnednnDevice(): OnednnDevice | Missing {
  const library = openOnednn();
  const { opened, report: { problem, remedy }, close } = library;
  if (opened === undefined) {
    close();
    return { reason: `oneDNN: ${problem}`, remedy: remedy ?? ONEDNN_INSTALL };
  }
  let device: OnednnDevice | undefined;
  try {
    device = new OnednnDevice(opened, library);
    if (device.convolves) return device;
    device.close();
    return unusable(opened.path, "it has no fast convolution for this processor");
  } catch (error) {
    device === undefined ? close() : device.close();
    if (error instanceof LibraryError) return unusable(opened.path, error.message);
    throw error;
  }
}
