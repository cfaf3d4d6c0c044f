/** Runs of plans, recorded with their inputs so that they can be repeated. */

import type { Backend, DeviceBuffer, Executable } from "../../src/backends/backend.ts";
import { at } from "../../src/base/at.ts";
import type { Plan } from "../../src/compile/plan.ts";
import { bytesOf } from "../../src/trace/dtype.ts";

/** A run that can be repeated as often as wanted, for as long as its program is not freed. */
export interface RecordedRun {
  readonly plan: Plan;
  readonly executable: Executable;
  /** Buffers of its own, with the contents that the inputs had. */
  readonly inputs: readonly DeviceBuffer[];
  readonly outputs: readonly (DeviceBuffer | undefined)[];
}

/**
 * Records what a backend runs while `work` goes on. Programs must have been compiled after this recorder was made, and
 * the copies of the inputs stay on the device until it is closed.
 */
export class Recorder {
  readonly #backend: Backend;
  #runs: Promise<RecordedRun>[] | undefined;

  constructor(backend: Backend) {
    this.#backend = backend;
    const compile = backend.compile.bind(backend);
    backend.compile = (plan, products) => {
      const executable = compile(plan, products);
      return {
        run: (inputs, outputs) => {
          this.#runs?.push(this.#record(plan, executable, inputs, outputs));
          executable.run(inputs, outputs);
        },
        dispose: () => executable.dispose(),
      };
    };
  }

  /** The runs that `work` makes, in order. */
  async record(work: () => Promise<unknown>): Promise<RecordedRun[]> {
    const runs: Promise<RecordedRun>[] = this.#runs = [];
    await work().finally(() => this.#runs = undefined);
    return await Promise.all(runs);
  }

  async #record(
    plan: Plan,
    executable: Executable,
    given: readonly DeviceBuffer[],
    results: readonly (DeviceBuffer | undefined)[],
  ): Promise<RecordedRun> {
    const backend = this.#backend;
    // Reads are issued before the run, so they see what it reads.
    const contents = await Promise.all(given.map((buffer) => backend.read(buffer, buffer.bytes)));
    const allocate = (value: number) => {
      const aval = at(plan.values, value);
      return backend.allocate(bytesOf(aval), aval.dtype);
    };
    const inputs = plan.inputs.map(({ value }, i) => {
      const buffer = allocate(value);
      backend.write(buffer, at(contents, i).subarray(0, buffer.bytes));
      return buffer;
    });
    const outputs = plan.outputs.map(({ value }, i) => results[i] && allocate(value));
    return { plan, executable, inputs, outputs };
  }
}
