import { stepProgram } from "./memory.ts";
import type { Setup } from "./setup.ts";

/**
 * True if a training step reads the inputs of its batches. In a pipeline that is the first process's, and those of methods
 * that reconstruct images; the others take features from the process before, and of the batch only its labels.
 */
export function readsInputs(setup: Setup, batch: number): boolean {
  if (setup.part?.input === undefined) return true;
  const { inputs, instructions } = stepProgram(setup, batch);
  const given = inputs.filter(({ name }) => INPUTS.includes(name)).map(({ value }) => value);
  return instructions.some(({ inputs }) => inputs.some((value) => given.includes(value)));
}

/** The names of a batch's inputs in a step's program. */
const INPUTS: readonly string[] = ["2.x", "2.images"];
