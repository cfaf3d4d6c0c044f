import {
  type CollectiveInstruction,
  isCollectiveInstruction,
  type StructuredInstruction,
} from "../trace/program.ts";

/** The op of a step on a backend without collective ops: a device without groups of processes gets no plan with one. */
export function structuredOnly(
  instruction: StructuredInstruction | CollectiveInstruction,
): StructuredInstruction {
  if (isCollectiveInstruction(instruction)) {
    throw new Error(`a plan for a device without groups of processes has ${instruction.op}`);
  }
  return instruction;
}
