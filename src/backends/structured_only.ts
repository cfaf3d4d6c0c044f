import {
  type CollectiveInstruction,
  isCollectiveInstruction,
  type StructuredInstruction,
} from "../trace/program.ts";

/** The op of a step that exchanges nothing. */
export function structuredOnly(
  instruction: StructuredInstruction | CollectiveInstruction,
): StructuredInstruction {
  if (isCollectiveInstruction(instruction)) {
    throw new Error(`${instruction.op} is no structured op`);
  }
  return instruction;
}
